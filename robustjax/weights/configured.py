"""The configuration of a run whose weights are a file's: values and their sources."""

import re
from collections.abc import Mapping
from typing import Any

from robustjax import config as configs
from robustjax.config import Config
from robustjax.errors import UserError

# What made the weights is not in the file: defaults stand there, and say so.
_OF_TRAINING = ("attack.", "loss.", "train.", "optimizer.")
_UNKNOWN = "default: weights of a file were not trained here"
_NOT_IN_FILE = "not in the file: --eps says it"


def configured(
  name: str,
  origin: str,
  values: Mapping[str, tuple[Any, str]],
  scale: str = "paper",
) -> Config:
  """The configuration of imported weights: a run of no epochs.

  Args:
    name: of the file, for the setting's.
    origin: the file and its digest.
    values: dotted name -> value and where it comes from. Where "eval.eps" is missing,
      it is 0 and so must be said to every evaluation.
    scale: "paper" or "mini", whose images and evaluation the network has.

  Returns:
    The configuration, checked.

  Raises:
    UserError: a value that there is not, or that no network can have.
  """
  word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")[:80] or "weights"
  config = configs.base(f"imported_{word}", "mini" if scale == "mini" else "")
  classes = config.data.classes
  for value_name, value in configs.flatten(config).items():
    if value_name.startswith(_OF_TRAINING):
      configs.change(config, value_name, value, _UNKNOWN)
  own = {
    "init.weights": (origin, "what was imported"),
    "train.epochs": (0.0, "nothing was trained here"),
    "model.dtype": ("float32", "the file's"),
    "eval.eps": (0.0, _NOT_IN_FILE),
    **values,
  }
  for value_name, (value, source) in own.items():
    try:
      configs.change(config, value_name, value, source)
    except TypeError as error:
      raise UserError(f"config.{value_name} cannot be {value!r} ({source})") from error
  eps, source = config.eval.eps, own["eval.eps"][1]
  configs.change(config, "attack.eps", eps, source)
  for value_name in ("attack.step_size", "eval.step_size") if eps else ():
    configs.change(config, value_name, eps / 16, f"the paper's share of eps; {source}")
  if config.data.classes != classes:
    configs.change(config, "data.class_digest", "", "not in the file")
  configs.check(config)
  return config
