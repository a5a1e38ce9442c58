"""100% adv + 0% clean: Tables 1, 2, 4, 5 and 7; Figures 1, 2 and 6."""

from robustjax import config


def get_config(variant: str = ""):
  return config.base("adv", variant)  # the defaults are this setting
