"""BN fine-tuning, section 4.4: another domain through the filters of a finished run.

`to_clean` takes a finished run of experiments/adv.py and trains its normalisation on
clean images alone; `to_adv` takes one of experiments/clean.py and adversarial images.
"""

from robustjax import config

SECTION = "paper section 4.4"
FEW = "guess: section 4.4 says 'a few epochs'"
CLEAN = {"loss.adv": False, "loss.clean_ratio": 1.0}
DIRECTIONS = {
  "to_clean": config.Variant("from 100% adv, on clean images", SECTION, CLEAN, CLEAN),
  "to_adv": config.Variant("from 100% clean, on adversarial images", SECTION, {}, {}),
}


def get_config(variant: str = ""):
  c = config.base("bn_finetune", variant, choices=DIRECTIONS, common=("float32",))
  mini = c.scale == "mini"
  start = "clean" if c.loss.adv else "adv"
  config.change(c, "init.run", f"runs/{start}-{c.scale}", SECTION)
  config.change(c, "train.parameters", "norm", SECTION + "; scale and bias too: guess")
  config.change(c, "train.epochs", 2.0 if mini else 5.0, FEW)
  rate = 0.01 * 256 / c.train.batch_size  # 0.01 whatever the batch
  config.change(c, "optimizer.lr_per_256", rate, "guess: a learning rate of 0.01")
  config.change(c, "optimizer.decay_epochs", (), "guess: too few epochs for a decay")
  config.change(c, "optimizer.warmup_epochs", 0.0, "guess: none for so small a rate")
  return c
