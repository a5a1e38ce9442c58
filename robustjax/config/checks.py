"""What no run can have, found before anything compiles."""

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from robustjax.config.defaults import CHOICES, DEFAULTS
from robustjax.errors import UserError

_BOUNDS: Mapping[str, tuple[Any, Any]] = {
  "seed": (0, 2**32 - 1),
  "attack.clean_start": (0.0, 1.0),
  "attack.eps": (0.0, 255.0),
  "eval.eps": (0.0, 255.0),
  "loss.clean_ratio": (0.0, 1.0),
  "loss.label_smoothing": (0.0, 1.0),
  "optimizer.decay_factor": (0.0, 1.0),
  "optimizer.momentum": (0.0, 1.0),
  "optimizer.rmsprop_decay": (0.0, 1.0),
}
_NOT_BELOW_ZERO = (
  "data.workers",
  "loss.alp_weight",
  "model.depth",
  "optimizer.decay_every",
  "optimizer.warmup_epochs",
  "optimizer.warmup_from",
  "optimizer.weight_decay",
  "train.epochs",
)
_ABOVE_ZERO = (
  "attack.step_size",
  "attack.steps",
  "data.classes",
  "data.image_size",
  "data.test_examples",
  "data.train_examples",
  "eval.attack_images",
  "eval.batch_size",
  "eval.step_size",
  "model.bottleneck",
  "model.cardinality",
  "model.gn_groups",
  "model.group",
  "model.width",
  "optimizer.lr_per_256",
  "optimizer.rmsprop_eps",
  "train.batch_size",
  "train.log_every_steps",
  "train.save_every_epochs",
)


def nearest(name: str) -> str:
  """A hint naming the most similar value that there is, or nothing."""
  close = difflib.get_close_matches(name, list(DEFAULTS), 1, 0.4)
  return f"; did you mean --config.{close[0]}?" if close else ""


def check(flat: Mapping[str, Any]) -> None:
  """Refuses values that no run can have, before anything compiles.

  Args:
    flat: dotted name -> value.

  Raises:
    UserError: one line that names the value and what it may be.
  """
  for name in flat:
    if name not in DEFAULTS:
      raise UserError(f"config.{name} does not exist{nearest(name)}")
  _check_kinds(flat)
  _check_ranges(flat)
  _check_combinations(flat)


def _check_kinds(flat: Mapping[str, Any]) -> None:
  for name, value in flat.items():
    if isinstance(value, float) and not math.isfinite(value):
      raise UserError(f"config.{name} is {value}; it must be a finite number")
  for name, kinds, least in (
    ("eval.readings", int, 1),
    ("model.input_mean", (int, float), 0),
    ("model.input_std", (int, float), 0),
    ("model.stages", int, 1),
    ("optimizer.decay_epochs", (int, float), 0),
  ):
    value = flat[name]
    right = isinstance(value, tuple | list) and all(
      isinstance(x, kinds) and not isinstance(x, bool) and least <= x < math.inf
      for x in value
    )
    if not right:
      what = "whole numbers" if kinds is int else "numbers"
      raise UserError(f"config.{name} is {value!r}; it may be {what} from {least} up")


def _check_ranges(flat: Mapping[str, Any]) -> None:
  for name, choices in CHOICES.items():
    if flat[name] not in choices:
      have = ", ".join(repr(c) for c in choices)
      raise UserError(f"config.{name} is {flat[name]!r}; it may be {have}")
  bounds = {
    **_BOUNDS,
    "train.running_statistics_epochs": (0.0, flat["train.epochs"]),
    "train.validation_images": (1, flat["data.test_examples"]),
    "eval.images": (1, flat["data.test_examples"]),
  }
  for name, (low, high) in bounds.items():
    if not low <= flat[name] <= high:
      raise UserError(f"config.{name} is {flat[name]}; it may be {low} to {high}")
  for name in _ABOVE_ZERO:
    if flat[name] <= 0:
      raise UserError(f"config.{name} is {flat[name]}; it must be above 0")
  for name in _NOT_BELOW_ZERO:
    if flat[name] < 0:
      raise UserError(f"config.{name} is {flat[name]}; it must be 0 or above")


def _check_combinations(flat: Mapping[str, Any]) -> None:
  wrong = (
    *_wrong_pieces(flat),
    *_wrong_network(flat),
    *_wrong_crop(flat),
    *_wrong_strategy(flat),
  )
  for is_wrong, message in wrong:
    if is_wrong:
      raise UserError(f"config.{message}")


def _wrong_pieces(flat: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
  setting = flat["setting"]
  yield (
    not re.fullmatch(r"[\w-]+", setting),
    f"setting is {setting!r}; it names a folder: letters, digits, _ and -",
  )
  split = flat["data.test_split"]
  yield (
    re.search(r"(^|\+)\s*(train|all)\b", split),
    f"data.test_split is {split!r}, which has images that the run trains on: take"
    " another split",
  )
  yield not flat["eval.readings"], "eval.readings must hold numbers of steps"
  yield (
    flat["model.depth"] and flat["model.stages"],
    "model.depth and config.model.stages are both set, two ways to say the same: set"
    " depth to 0 or stages to ()",
  )
  yield (
    flat["optimizer.decay_every"] and flat["optimizer.decay_epochs"],
    "optimizer.decay_every and config.optimizer.decay_epochs are both set, two ways to"
    " say the same: set decay_every to 0 or decay_epochs to ()",
  )
  yield (
    flat["data.transform"] == "imagenet" and flat["data.channels"] != 3,
    "data.transform='imagenet' needs config.data.channels=3",
  )


def _wrong_network(flat: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
  width, groups, channels, inner, cardinality, std = (
    flat[name]
    for name in (
      "model.width", "model.gn_groups", "data.channels", "model.bottleneck",
      "model.cardinality", "model.input_std",
    )
  )  # fmt: skip
  yield (
    flat["model.norm"] == "gn" and width % groups,
    f"model.gn_groups is {groups}; it must divide config.model.width, {width}",
  )
  for name in ("model.input_mean", "model.input_std"):
    yield (
      len(flat[name]) not in (1, channels),
      f"{name} has {len(flat[name])} values; it needs one, or one for each of"
      f" config.data.channels={channels}",
    )
  yield 0 in std, f"model.input_std is {std}; pixels are divided by it: above 0"
  yield (
    width * inner % cardinality,
    f"model.cardinality is {cardinality}; it must divide the channels inside a block,"
    f" config.model.width={width} times config.model.bottleneck={inner}",
  )


def _wrong_crop(flat: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
  resize, size = flat["data.resize"], flat["data.image_size"]
  crops = flat["data.transform"] == "imagenet" and resize != -1
  yield (
    crops and resize < size,
    f"data.resize is {resize}, and config.data.image_size, the centre of that, {size}:"
    f" set data.resize to {size} or more, such as {round(size * 256 / 224)}, or to -1,"
    " which does not resize",
  )
  yield (
    crops and resize > 2 * size,
    f"data.resize is {resize}, of which config.data.image_size={size} would show less"
    f" than a quarter: set data.resize to {round(size * 256 / 224)}, in proportion as"
    " 256 to 224",
  )


def _wrong_strategy(flat: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
  ratio, adv, group = (
    flat[name] for name in ("loss.clean_ratio", "loss.adv", "model.group")
  )
  both = adv and ratio
  epochs, weights = flat["train.epochs"], flat["init.weights"]
  yield epochs == 0 and not weights, f"train.epochs is {epochs}; it must be above 0"
  yield (
    epochs and weights,
    "init.weights says that a run was imported and not trained: to train from it name"
    " its folder with --config.init.run=DIR",
  )
  yield (
    not adv and not ratio,
    "loss has neither adversarial nor clean images to train on",
  )
  yield (
    both and not round(group * ratio),
    f"loss.clean_ratio is {ratio}; a group of {group} images keeps none of its clean"
    " ones: set it to 0 or higher",
  )
  yield (
    flat["loss.alp_weight"] and not both,
    "loss.alp_weight pairs adversarial images with clean ones: it needs loss.adv and a"
    " loss.clean_ratio above 0; without them set it to 0",
  )
  yield (
    flat["model.norm"] == "mbn" and not both,
    "model.norm is 'mbn', whose clean or adv branch would never be trained here: set"
    " it to 'bn', or loss.adv with a loss.clean_ratio above 0",
  )
  yield (
    flat["model.norm"] == "gn" and flat["train.running_statistics_epochs"],
    "train.running_statistics_epochs needs running statistics, which norm='gn' has"
    " none of: set it to 0",
  )
  yield (
    flat["train.parameters"] == "norm" and not flat["init.run"],
    "train.parameters='norm' trains normalisation alone, on kernels that were never"
    " trained: name the folder of a finished run with --config.init.run=DIR",
  )
