"""The configuration: every default with its unit and its source, scales, checks.

A source is a section of the paper ("Intriguing properties of adversarial training"),
"FD" (facebookresearch/ImageNet-Adversarial-Training, the paper's training pipeline),
"ours" (a choice of this project that changes no result of the paper's setting), or
"guess": neither the paper nor FD says it, and results may depend on it.
"""

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import ml_collections

from robustjax.errors import UserError

PAPER, FD, OURS, GUESS = "paper", "FD", "ours", "guess"


class Default(NamedTuple):
  """A value, its unit ("" for none) and where it comes from."""

  value: Any
  unit: str
  source: str


DEFAULTS: Mapping[str, Default] = {
  "setting": Default("", "", "the experiment file's name"),
  "scale": Default("paper", "", "ours"),
  "seed": Default(0, "", "ours"),
  # Images.
  "data.name": Default("imagenet2012", "TFDS name", "paper section 3"),
  "data.version": Default("5.1.0", "TFDS version", "ours"),
  "data.data_dir": Default("", "folder; TFDS's own if empty", "ours"),
  "data.test_split": Default("validation", "", "paper section 3"),
  "data.train_examples": Default(1281167, "images", "paper section 3: ImageNet"),
  "data.test_examples": Default(50000, "images", "paper section 3: ImageNet"),
  "data.classes": Default(1000, "classes", "paper section 3"),
  "data.image_size": Default(224, "pixels", "FD"),
  "data.channels": Default(3, "RGB", "FD; RGB where FD has BGR: ours"),
  "data.transform": Default("imagenet", "", "FD"),
  "data.workers": Default(16, "processes", "ours"),
  # The network.
  "model.depth": Default(
    152, "layers", "paper section 3: 'ResNet-152'; the blocks beyond 200: guess"
  ),
  "model.stages": Default((), "blocks a stage, instead of depth", "ours"),
  "model.block": Default("", "by depth if empty", "ours"),
  "model.width": Default(64, "channels", "FD"),
  "model.stem": Default("imagenet", "", "FD"),
  "model.norm": Default("bn", "bn, mbn or gn", "paper section 4"),
  "model.group": Default(32, "images", "FD: 32 images a GPU share BN statistics"),
  "model.gn_groups": Default(32, "groups of channels", "guess: Wu & He 2018"),
  "model.dtype": Default("bfloat16", "", "guess: FD trains in float32"),
  # The attack of training (section 3).
  "attack.eps": Default(16.0, "of 255", "paper section 3: 'eps=16'"),
  "attack.step_size": Default(1.0, "of 255", "paper section 3: 'step size alpha=1'"),
  "attack.steps": Default(30, "steps", "paper section 3: 'N = 30'"),
  "attack.clean_start": Default(
    0.2, "probability", "paper section 3: 'probability = 0.2'; for each image: ours"
  ),
  # What a batch mixes (section 4.1).
  "loss.adv": Default(True, "", "paper section 4.1: '100% adv'"),
  "loss.clean_ratio": Default(0.0, "clean images an adversarial one", "paper 4.1"),
  "loss.alp_weight": Default(
    0.0, "", "paper section 4.1; its value where it is not 0: guess"
  ),
  "loss.label_smoothing": Default(0.1, "", "FD"),
  # The schedule.
  "train.batch_size": Default(4096, "images", "paper appendix B.3"),
  "train.epochs": Default(110.0, "epochs", "paper section 3"),
  "train.running_statistics_epochs": Default(
    0.0, "last epochs", "paper section 4.3; frozen statistics there: guess"
  ),
  "train.save_every_epochs": Default(1.0, "epochs", "ours"),
  "train.log_every_steps": Default(10, "steps", "ours"),
  "train.validation_images": Default(2048, "images, the test split's last", "ours"),
  # The optimiser.
  "optimizer.lr_per_256": Default(0.1, "a batch of 256", "FD: 0.1 * batch / 256"),
  "optimizer.warmup_epochs": Default(5.0, "epochs", "FD"),
  "optimizer.warmup_from": Default(0.1, "", "paper appendix A; FD"),
  "optimizer.decay_epochs": Default((35.0, 70.0, 95.0), "epochs", "paper section 3"),
  "optimizer.decay_factor": Default(0.1, "", "paper section 3: 'by 10x'"),
  "optimizer.momentum": Default(0.9, "", "FD"),
  "optimizer.nesterov": Default(True, "", "FD"),
  "optimizer.weight_decay": Default(1e-4, "kernels only", "FD"),
  # Evaluation (section 3).
  "eval.eps": Default(16.0, "of 255", "paper section 3: 'eps = 16'"),
  "eval.step_size": Default(
    1.0, "of 255, at least eps / N", "paper section 3: 'alpha = 1'; the floor: FD"
  ),
  "eval.readings": Default((10, 20, 100, 500, 2000), "steps", "paper appendix C"),
  "eval.images": Default(50000, "images, the test split's first", "paper section 3"),
  "eval.batch_size": Default(2048, "images", "ours"),
}

# The small scale: the shipped images, minutes on a laptop. All of it is ours. As in the
# paper, an evaluation step is eps / 16. Without augmentation, because 8 epochs are too
# few to overfit (benchmarks/README.md).
MINI: Mapping[str, Any] = {
  "scale": "mini",
  "data.name": "fashion_mnist_mini",
  "data.version": "1.0.0",
  "data.test_split": "test",
  "data.train_examples": 10000,
  "data.test_examples": 2000,
  "data.classes": 10,
  "data.image_size": 28,
  "data.channels": 1,
  "data.transform": "none",
  "data.workers": 0,
  "model.depth": 0,
  "model.stages": (1, 1, 1),
  "model.block": "basic",
  "model.width": 16,
  "model.stem": "small_stride2",
  "model.gn_groups": 8,
  "model.dtype": "float32",
  "attack.eps": 32.0,
  "attack.step_size": 8.0,
  "attack.steps": 7,
  "train.batch_size": 64,
  "train.epochs": 8.0,
  "train.validation_images": 200,
  "optimizer.lr_per_256": 0.8,
  "optimizer.warmup_epochs": 0.5,
  "optimizer.warmup_from": 0.01,
  "optimizer.decay_epochs": (5.0, 7.0),
  "eval.eps": 32.0,
  "eval.step_size": 2.0,
  "eval.readings": (10, 20, 50, 100),
  "eval.images": 1000,
  "eval.batch_size": 200,
}

VARIANTS = {
  "mini": "the shipped images and a small network: minutes on a laptop",
  "star": "the * rows: running statistics in the last epochs (section 4.3)",
}


_CHOICES: Mapping[str, tuple[Any, ...]] = {
  "data.channels": (1, 3),
  "data.transform": ("imagenet", "small", "none"),
  "model.block": ("", "basic", "bottleneck"),
  "model.dtype": ("float32", "bfloat16"),
  "model.norm": ("bn", "mbn", "gn"),
  "model.stem": ("imagenet", "small", "small_stride2"),
}
_BOUNDS: Mapping[str, tuple[Any, Any]] = {
  "seed": (0, 2**32 - 1),
  "attack.clean_start": (0.0, 1.0),
  "attack.eps": (0.0, 255.0),
  "eval.eps": (0.0, 255.0),
  "loss.clean_ratio": (0.0, 1.0),
  "loss.label_smoothing": (0.0, 1.0),
  "optimizer.decay_factor": (0.0, 1.0),
  "optimizer.momentum": (0.0, 1.0),
}
_NOT_BELOW_ZERO = (
  "data.workers",
  "loss.alp_weight",
  "model.depth",
  "optimizer.warmup_epochs",
  "optimizer.warmup_from",
  "optimizer.weight_decay",
)
_ABOVE_ZERO = (
  "attack.step_size",
  "attack.steps",
  "data.classes",
  "data.image_size",
  "data.test_examples",
  "data.train_examples",
  "eval.batch_size",
  "eval.step_size",
  "model.gn_groups",
  "model.group",
  "model.width",
  "optimizer.lr_per_256",
  "train.batch_size",
  "train.epochs",
  "train.log_every_steps",
  "train.save_every_epochs",
)


def base(setting: str, variant: str = "") -> ml_collections.ConfigDict:
  """The defaults that every experiment starts from.

  Args:
    setting: the experiment's name, which names its runs.
    variant: words of `VARIANTS` with commas between them: what follows the colon in
      --config=experiments/X.py:mini,star.

  Returns:
    The configuration, a section for each part of a run.

  Raises:
    UserError: a word that is not a variant.
  """
  words = [word for word in variant.split(",") if word]
  unknown = [word for word in words if word not in VARIANTS]
  if unknown:
    have = "; ".join(f"{name}: {what}" for name, what in VARIANTS.items())
    raise UserError(f"no variant {unknown[0]!r}; there is {have}")
  values = {name: default.value for name, default in DEFAULTS.items()}
  if "mini" in words:
    values |= MINI
  values["setting"] = setting
  if "star" in words:
    values["setting"] += "_star"
    # 10 of the paper's 110 epochs; at least one.
    values["train.running_statistics_epochs"] = max(1.0, values["train.epochs"] / 11)
  config = ml_collections.ConfigDict()
  for name, value in values.items():
    section, _, key = name.rpartition(".")
    if section and section not in config:
      config[section] = ml_collections.ConfigDict()
    (config[section] if section else config)[key] = value
  return config


def flatten(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """Dotted name -> value."""
  flat: dict[str, Any] = {}
  for key, value in config.items():
    if isinstance(value, ml_collections.ConfigDict):
      flat |= {f"{key}.{name}": inner for name, inner in flatten(value).items()}
    else:
      flat[key] = value
  return flat


def nearest(name: str, names: Any) -> str:
  """A hint naming the most similar of some names, or nothing."""
  close = difflib.get_close_matches(name, list(names), 1, 0.4)
  return f"; did you mean --config.{close[0]}?" if close else ""


def guesses(config: ml_collections.ConfigDict) -> list[str]:
  """The values that are guesses and that this configuration depends on.

  Returns:
    "name=value" for each: neither the paper nor FD says it, and results may depend on
    it.
  """
  flat = flatten(config)
  matters = {
    "loss.alp_weight": flat["loss.alp_weight"] > 0,
    "model.depth": flat["model.depth"] > 200,
    "model.dtype": flat["model.dtype"] != "float32",
    "model.gn_groups": flat["model.norm"] == "gn",
    "train.running_statistics_epochs": flat["train.running_statistics_epochs"] > 0,
  }
  return [
    f"{name}={flat[name]}"
    for name, default in DEFAULTS.items()
    if "guess" in default.source and matters[name]
  ]


def check(config: ml_collections.ConfigDict) -> None:
  """Refuses values that no run can have, before anything compiles.

  Raises:
    UserError: one line that names the value and what it may be.
  """
  flat = flatten(config)
  for name in flat:
    if name not in DEFAULTS:
      raise UserError(f"config.{name} does not exist{nearest(name, DEFAULTS)}")
  _check_kinds(flat)
  _check_ranges(flat)
  _check_combinations(flat)


def _check_kinds(flat: Mapping[str, Any]) -> None:
  for name, value in flat.items():
    if isinstance(value, float) and not math.isfinite(value):
      raise UserError(f"config.{name} is {value}; it must be a finite number")
  for name, kinds, least in (
    ("eval.readings", int, 1),
    ("model.stages", int, 1),
    ("optimizer.decay_epochs", (int, float), 0),
  ):
    value = flat[name]
    right = isinstance(value, tuple | list) and all(
      isinstance(x, kinds) and not isinstance(x, bool) and x >= least for x in value
    )
    if not right:
      what = "whole numbers" if kinds is int else "numbers"
      raise UserError(f"config.{name} is {value!r}; it may be {what} from {least} up")


def _check_ranges(flat: Mapping[str, Any]) -> None:
  for name, choices in _CHOICES.items():
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
  wrong = (*_wrong_pieces(flat), *_wrong_strategy(flat))
  for is_wrong, message in wrong:
    if is_wrong:
      raise UserError(f"config.{message}")


def _wrong_pieces(flat: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
  setting, width, groups = (
    flat[name] for name in ("setting", "model.width", "model.gn_groups")
  )
  yield (
    not re.fullmatch(r"[\w-]+", setting),
    f"setting is {setting!r}; it names a folder: letters, digits, _ and -",
  )
  yield not flat["eval.readings"], "eval.readings must hold numbers of steps"
  yield (
    flat["model.depth"] and flat["model.stages"],
    "model.depth and config.model.stages are both set, two ways to say the same: set"
    " depth to 0 or stages to ()",
  )
  yield (
    flat["model.norm"] == "gn" and width % groups,
    f"model.gn_groups is {groups}; it must divide config.model.width, {width}",
  )
  yield (
    flat["data.transform"] == "imagenet" and flat["data.channels"] != 3,
    "data.transform='imagenet' needs config.data.channels=3",
  )


def _wrong_strategy(flat: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
  ratio, adv, group = (
    flat[name] for name in ("loss.clean_ratio", "loss.adv", "model.group")
  )
  both = adv and ratio
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
