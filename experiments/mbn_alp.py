"""MBN, 100% adv + 100% clean, ALP: Tables 1, 2, 4, 5 and 7; Figure 3.

Mixture BN keeps one set of normalisation for clean images and one for adversarial
ones; logit pairing couples the two.
"""

from robustjax import config


def get_config(variant: str = ""):
  c = config.base("mbn_alp", variant)
  config.change(c, "model.norm", "mbn", "paper section 4.2: 'Mixture BN'")
  config.change(c, "loss.clean_ratio", 1.0, "paper equation 1: alpha = 0.5")
  weight = "guess: Kannan et al. 2018; the paper gives no weight and no distance"
  config.change(c, "loss.alp_weight", 0.5, weight)
  return c
