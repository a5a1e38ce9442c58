"""MBN, 100% adv + 100% clean: Tables 1, 2, 4, 5 and 7; Figures 3 and 5."""

from robustjax import config


def get_config(variant: str = ""):
  c = config.base("mbn", variant)
  config.change(c, "model.norm", "mbn", "paper section 4.2: 'Mixture BN'")
  config.change(c, "loss.clean_ratio", 1.0, "paper equation 1: alpha = 0.5")
  return c
