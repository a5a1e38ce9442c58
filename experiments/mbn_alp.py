"""MBN, 100% adv + 100% clean, ALP: Tables 1 and 2, Figure 3.

Mixture BN keeps one set of normalisation for clean images and one for adversarial
ones; logit pairing couples the two. `star` is the row with running statistics in the
last epochs.
"""

from robustjax import config


def get_config(variant: str = ""):
  c = config.base("mbn_alp", variant)
  c.model.norm = "mbn"
  c.loss.clean_ratio = 1.0  # equation 1 with alpha = 0.5
  c.loss.alp_weight = 0.5  # guess: Kannan et al. 2018; the paper gives no weight
  return c
