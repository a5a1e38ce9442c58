"""100% adv + 100% clean, ALP, under plain BN: Figure 2, Tables 4 and 7."""

from robustjax import config


def get_config(variant: str = ""):
  c = config.base("alp", variant)
  config.change(c, "loss.clean_ratio", 1.0, "paper equation 1: alpha = 0.5")
  weight = "guess: Kannan et al. 2018; the paper gives no weight and no distance"
  config.change(c, "loss.alp_weight", 0.5, weight)
  return c
