"""The depth study, Figure 7: ResNet-152 to -638, adversarial only* or clean only.

At mini scale the second of three stages grows from 1 block to 5.
"""

from robustjax import config

BLOCKS = {152: 1, 200: 2, 338: 3, 518: 4, 638: 5}
DEPTHS = {
  str(depth): config.Variant(
    f"ResNet-{depth}",
    "paper section 5 and Table 7"
    + ("" if depth <= 200 else "; which stage its blocks are in: guess"),
    {"model.depth": depth},
    {"model.stages": (1, blocks, 1)},
  )
  for depth, blocks in BLOCKS.items()
}
CLEAN = {"loss.adv": False, "loss.clean_ratio": 1.0}
OWN = {
  "clean": config.Variant(
    "0% adv + 100% clean", "paper section 5: '0% adv + 100% clean'", CLEAN, CLEAN
  )
}


def get_config(variant: str = ""):
  c = config.base("depth", variant, choices=DEPTHS, own=OWN, common=("float32",))
  if c.loss.adv:
    config.apply(c, config.COMMON["star"])
  return c
