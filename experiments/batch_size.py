"""The batch-size study, Table 6: 100% adv + 0% clean*, batches of 512 to 8192.

At mini scale the batches are 16 times smaller, 32 to 512.
"""

from robustjax import config

SIZES = {
  str(size): config.Variant(
    f"batches of {size} images",
    "paper appendix B.3",
    {"train.batch_size": size},
    {"train.batch_size": size // 16},
  )
  for size in (512, 1024, 2048, 4096, 8192)
}


def get_config(variant: str = ""):
  c = config.base("batch_size", variant, choices=SIZES, common=("float32",))
  config.apply(c, config.COMMON["star"])
  if not c.setting.endswith("_4096"):
    same = "guess: 32 images share BN statistics whatever the batch"
    config.change(c, "model.group", 32, same)
  return c
