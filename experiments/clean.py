"""0% adv + 100% clean: ordinary training, Table 1 and Figure 7's blue curve."""

from robustjax import config


def get_config(variant: str = ""):
  c = config.base("clean", variant, common=("star", "eps8", "float32"))
  config.change(c, "loss.adv", False, "paper section 5: '0% adv + 100% clean'")
  config.change(c, "loss.clean_ratio", 1.0, "paper section 5: '0% adv + 100% clean'")
  return c
