"""100% adv + 100 to 20% clean under plain BN: Figures 1 and 2, Tables 4 and 7."""

from robustjax import config

PERCENT = (80, 60, 40, 20)
SECTION = "paper section 4.1: 'removing their clean counterparts'"
FEWER = {
  str(percent): config.Variant(
    f"{percent}% clean images",
    SECTION,
    {"loss.clean_ratio": percent / 100},
    {"loss.clean_ratio": percent / 100},
  )
  for percent in PERCENT
}


def get_config(variant: str = ""):
  c = config.base("adv_clean", variant, own=FEWER)
  if not c.loss.clean_ratio:  # no word has set it
    config.change(c, "loss.clean_ratio", 1.0, "paper equation 1: alpha = 0.5")
  return c
