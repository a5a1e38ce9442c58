"""GN, 100% adv + 100% clean: section 4.2 and Table 7."""

from robustjax import config


def get_config(variant: str = ""):
  # Without batch statistics there is no phase of running ones: no star.
  c = config.base("gn", variant, common=("pgd20", "pgd10", "pgd5", "eps8", "float32"))
  config.change(c, "model.norm", "gn", "paper section 4.2: 'group normalization'")
  config.change(c, "loss.clean_ratio", 1.0, "paper equation 1: alpha = 0.5")
  return c
