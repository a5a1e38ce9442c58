"""Which values each name may have by itself: its type, and its range."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from robustjax.config import pieces
from robustjax.config.defaults import CHOICES, DEFAULTS


class Range(NamedTuple):
  """What a number may be.

  Attributes:
    low: the least.
    high: the most.
    without: the ends that it may not be: "", "low" or "high".
  """

  low: float
  high: float
  without: str = ""

  def __contains__(self, value: object) -> bool:
    assert isinstance(value, int | float)
    if value in {"low": (self.low,), "high": (self.high,)}.get(self.without, ()):
      return False
    return self.low <= value <= self.high

  def __str__(self) -> str:
    low = f"above {self.low:g}" if self.without == "low" else f"{_digits(self.low)}"
    high = "below " if self.without == "high" else ""
    return f"{low} to {high}{_digits(self.high)}"


_EPOCHS = 10_000
_IMAGES = 10**9
_SHARE = Range(0, 1)
_BELOW_ONE = Range(0, 1, "high")
_PIXELS = Range(0.1, 255)  # of 255: nobody means less who knows that it is
_STEP = Range(0.01, 255)
_STEPS = Range(1, 100_000)
_BATCH = Range(1, 2**20)

# Of every number, and of each one in a tuple. Beyond these nothing is meant, or can be
# held; none of them cuts off what somebody has published.
RANGES: Mapping[str, Range] = {
  "seed": Range(0, 2**32 - 1),
  "data.train_examples": Range(1, _IMAGES),
  "data.test_examples": Range(1, _IMAGES),
  "data.classes": Range(2, 10**6),
  "data.image_size": Range(1, 4096),
  "data.channels": Range(1, 3),
  "data.resize": Range(-1, 8192),
  "data.workers": Range(0, 1024),
  "model.depth": Range(0, 10_000),
  "model.stages": Range(1, 1000),
  "model.width": Range(1, 4096),
  "model.bottleneck": Range(1, 64),
  "model.cardinality": Range(1, 4096),
  "model.input_mean": Range(0, 255),
  "model.input_std": Range(0, 1e6, "low"),
  "model.group": Range(1, 2**20),
  "model.gn_groups": Range(1, 4096),
  "attack.eps": _PIXELS,
  "attack.step_size": _STEP,
  "attack.steps": _STEPS,
  "attack.clean_start": _SHARE,
  "loss.clean_ratio": _SHARE,
  "loss.alp_weight": Range(0, 1000),
  "loss.label_smoothing": _BELOW_ONE,
  "loss.beta": Range(0, 1000),
  "train.batch_size": _BATCH,
  "train.epochs": Range(0, _EPOCHS, "low"),
  "train.running_statistics_epochs": Range(0, _EPOCHS),
  "train.save_every_epochs": Range(0, _EPOCHS, "low"),
  "train.log_every_steps": Range(1, 10**6),
  "train.validation_images": Range(1, _IMAGES),
  "optimizer.lr_per_256": Range(0, 100, "low"),
  "optimizer.warmup_epochs": Range(0, _EPOCHS),
  "optimizer.warmup_from": Range(0, 1000),
  "optimizer.decay_epochs": Range(0, _EPOCHS, "low"),
  "optimizer.decay_every": Range(0, _EPOCHS),
  "optimizer.decay_factor": Range(0, 1, "low"),
  "optimizer.momentum": _BELOW_ONE,
  "optimizer.weight_decay": Range(0, 1),
  "optimizer.rmsprop_decay": _BELOW_ONE,
  "optimizer.rmsprop_eps": Range(0, 1000, "low"),
  "optimizer.ema_decay": _BELOW_ONE,
  "eval.eps": _PIXELS,
  "eval.step_size": _STEP,
  "eval.readings": _STEPS,
  "eval.images": Range(1, _IMAGES),
  "eval.batch_size": _BATCH,
  "eval.attack_images": Range(1, _IMAGES),
}
_MOST = {"model.stages": 8}  # how many a tuple holds
_FEW = 100
_LONGEST = 4096  # characters of a path on Linux
_OF_255 = ("attack.eps", "attack.step_size", "eval.eps", "eval.step_size")
# Tuples of whole numbers; the others' may have a fraction.
_WHOLE = ("eval.readings", "model.stages")


def wrong(name: str, value: Any) -> str:
  """What is wrong with a value by itself: "" or a line without its beginning.

  Args:
    name: one of `DEFAULTS`.
    value: of any type at all.
  """
  if isinstance(DEFAULTS[name].value, tuple):
    return _wrong_tuple(name, value)
  if what := _wrong_type(value, type(DEFAULTS[name].value)):
    return f"is {_shown(value)}; it may be {what}"
  if name in CHOICES and value not in CHOICES[name]:
    have = ", ".join(repr(c) for c in CHOICES[name])
    return f"is {_shown(value)}; it may be {have}"
  named = pieces.PIECES.get(name, (value,))
  if value not in named and not pieces.is_own(value):
    have = ", ".join(map(repr, named))
    return f"is {_shown(value)}; it may be {have}, or {pieces.FORM}"
  if isinstance(value, str) and (len(value) > _LONGEST or not value.isprintable()):
    return f"is {_shown(value)}; it may be a line of printable letters"
  if name in RANGES and value not in RANGES[name]:
    return f"is {_shown(value)}; it may be {RANGES[name]}{_of_255(name)}"
  return ""


def _wrong_tuple(name: str, value: Any) -> str:
  kind = int if name in _WHOLE else float
  what = "whole numbers" if kind is int else "numbers"
  most = _MOST.get(name, _FEW)
  if not isinstance(value, tuple | list) or len(value) > most:
    return f"is {_shown(value)}; it may be a tuple of at most {most} {what}"
  if any(_wrong_type(x, kind) or x not in RANGES[name] for x in value):
    return f"is {_shown(value)}; it may be {what}, each {RANGES[name]}"
  return ""


def _wrong_type(value: Any, kind: type) -> str:
  """What the value should be, or nothing if it is of the type."""
  if kind is bool:
    return "" if isinstance(value, bool) else "True or False"
  if kind is str:
    return "" if isinstance(value, str) else "a text"
  if isinstance(value, int) and not isinstance(value, bool):
    return ""
  if kind is int:
    return "a whole number"
  finite = isinstance(value, float) and math.isfinite(value)
  return "" if finite else "a finite number"


def _of_255(name: str) -> str:
  return ", of 255: 8/255 is 8" if name in _OF_255 else ""


def _digits(number: float) -> str:
  return f"{number:,}".removesuffix(".0") if number >= 10_000 else f"{number:g}"


def _shown(value: Any) -> str:
  try:
    text = repr(value)
  except ValueError:  # Python writes no number of thousands of digits
    text = "a number of thousands of digits"
  return text if len(text) <= 80 else text[:77] + "..."
