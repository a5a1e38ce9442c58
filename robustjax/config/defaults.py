"""Every default with its unit and its source, and the small scale's values.

A source is a section of the paper ("Intriguing properties of adversarial training"),
"FD" (facebookresearch/ImageNet-Adversarial-Training, the paper's training pipeline),
"ours" (a choice of this project that changes no result of the paper's setting), or
"guess": neither the paper nor FD says it, and results may depend on it.
"""

import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple


class Default(NamedTuple):
  """A value, its unit ("" for none) and where it comes from."""

  value: Any
  unit: str
  source: str


def default(value: Any, unit: str, source: str) -> Any:
  """A `Default` in the place of an attribute of its value's type."""
  return Default(value, unit, source)


class Init:
  """What a run starts from."""

  # A finished run whose weights this one starts from (section 4.4).
  run: str = default("", "folder; from scratch if empty", "paper section 4.4")
  # The file that this run's weights were imported from (robustjax.weights).
  weights: str = default("", "file and SHA-256; trained here if empty", "ours")


class Data:
  """Images."""

  name: str = default(
    "imagenet2012", "TFDS name, a path, or package.module:function", "paper section 3"
  )
  version: str = default("5.1.0", "TFDS version; empty for a path", "ours")
  data_dir: str = default("", "folder; TFDS's own if empty", "ours")
  test_split: str = default("validation", "", "FD")
  train_examples: int = default(1281167, "images", "paper section 3: ImageNet")
  test_examples: int = default(50000, "images", "FD: ImageNet's validation set")
  classes: int = default(1000, "classes", "paper section 3")
  # `classes.digest` of the synsets in the order of TFDS's labels, which is also
  # that of sorted folders.
  class_digest: str = default(
    "385e0240499426c0", "of the class names; not checked if empty", "ours"
  )
  image_size: int = default(224, "pixels", "FD")
  channels: Literal[1, 3] = default(
    3, "1 is grey, 3 RGB", "FD; RGB where FD has BGR: ours"
  )
  transform: Literal["imagenet", "small", "none"] = default("imagenet", "", "FD")
  # Of the evaluation: the shorter side, then the centre of image_size.
  resize: int = default(256, "pixels; -1 does not resize", "FD")
  interpolation: Literal["opencv", "pillow", "bilinear"] = default(
    "opencv", "opencv, pillow (both bicubic) or bilinear", "FD: cv2.INTER_CUBIC"
  )
  # Of training and evaluation: whether EXIF data turns an image.
  orientation: Literal["exif", "stored"] = default(
    "exif", "exif or stored", "FD: cv2.imread"
  )
  broken_images: Literal["stop", "skip"] = default("stop", "stop or skip", "ours")
  workers: int = default(16, "processes", "ours")


class Model:
  """The network."""

  network: str = default(
    "resnet", "resnet, or package.module:function", "paper section 3"
  )
  depth: int = default(152, "layers", "paper section 3: 'ResNet-152'")
  stages: tuple[int, ...] = default((), "blocks a stage, instead of depth", "ours")
  block: Literal["", "basic", "bottleneck"] = default("", "by depth if empty", "ours")
  width: int = default(64, "channels", "FD")
  bottleneck: int = default(1, "inner width of its blocks, in widths", "FD")
  cardinality: int = default(1, "groups of its 3x3 convolutions", "FD")
  stem: Literal["imagenet", "small", "small_stride2"] = default("imagenet", "", "FD")
  padding: Literal["SAME", "symmetric"] = default("SAME", "SAME or symmetric", "FD")
  activation: Literal["relu", "gelu"] = default("relu", "relu or gelu", "FD")
  non_local: Literal["none", "stages", "blocks"] = default(
    "none", "none, after stages or in blocks", "FD"
  )
  # Pixels become (pixel - mean) / std.
  input_mean: tuple[float, ...] = default((127.5,), "of 255: one, or by channel", "FD")
  input_std: tuple[float, ...] = default((127.5,), "of 255: one, or by channel", "FD")
  norm: str = default(
    "bn", "bn, mbn, gn, or package.module:function", "paper section 4"
  )
  group: int = default(32, "images", "FD: 32 images a GPU share BN statistics")
  gn_groups: int = default(32, "groups of channels", "guess: Wu & He 2018")
  dtype: Literal["float32", "bfloat16"] = default(
    "bfloat16",
    "of training; evaluations: float32",
    "guess: FD trains in float32; half precision in its attack cost FD about 3 points"
    " of robustness",
  )
  # How the network is computed, and not what (benchmarks/README.md).
  scan: bool = default(True, "a stage's blocks in a loop", "ours")
  remat: Literal["none", "convolutions", "block"] = default(
    "block", "none, convolutions or block", "ours"
  )


class Attack:
  """The attack of training (section 3)."""

  name: str = default("pgd", "pgd, kl, or package.module:function", "paper section 3")
  eps: float = default(16.0, "of 255", "paper section 3: 'eps=16'")
  step_size: float = default(1.0, "of 255", "paper section 3: 'step size alpha=1'")
  steps: int = default(30, "steps", "paper section 3: 'N = 30'")
  clean_start: float = default(
    0.2,
    "probability",
    "paper section 3: 'probability = 0.2', read as for each image; FD: a GPU's batch",
  )


class Loss:
  """What a batch mixes (section 4.1)."""

  name: str = default(
    "mixture", "mixture, trades, or package.module:function", "paper section 4.1"
  )
  adv: bool = default(True, "", "paper section 4.1: '100% adv'")
  clean_ratio: float = default(
    0.0, "clean images an adversarial one", "paper section 4.1"
  )
  alp_weight: float = default(0.0, "", "paper section 4.1")
  label_smoothing: float = default(0.1, "", "FD")
  beta: float = default(
    6.0, "of trades", "not in the paper: Zhang et al. 2019, section 5"
  )


class Train:
  """The schedule."""

  batch_size: int = default(4096, "images", "paper appendix B.3")
  epochs: float = default(110.0, "epochs", "paper section 3")
  running_statistics_epochs: float = default(0.0, "last epochs", "paper section 4.3")
  parameters: Literal["all", "norm"] = default(
    "all", "all or norm", "paper section 4.4"
  )
  save_every_epochs: float = default(1.0, "epochs", "ours")
  log_every_steps: int = default(10, "steps", "ours")
  validation_images: int = default(2048, "images, the test split's last", "ours")
  # Where the records also go, beside metrics.jsonl and TensorBoard.
  tracker: str = default("", "wandb, or package.module:function; none if empty", "ours")


class Optimizer:
  """The optimiser."""

  name: Literal["sgd", "rmsprop"] = default(
    "sgd", "sgd or rmsprop", "paper appendix A; FD"
  )
  schedule: str = default(
    "steps", "steps, cosine, or package.module:function", "paper section 3; FD"
  )
  lr_per_256: float = default(0.1, "for every whole 256", "FD: 0.1 * (batch // 256)")
  warmup_epochs: float = default(5.0, "epochs", "FD")
  warmup_from: float = default(0.1, "", "paper appendix A; FD")
  decay_epochs: tuple[float, ...] = default(
    (35.0, 70.0, 95.0), "epochs", "paper section 3"
  )
  decay_every: float = default(0.0, "epochs, instead of decay_epochs", "ours")
  decay_factor: float = default(0.1, "", "paper section 3: 'by 10x'")
  momentum: float = default(0.9, "", "FD")
  nesterov: bool = default(True, "", "FD")
  weight_decay: float = default(1e-4, "kernels only", "FD")
  rmsprop_decay: float = default(0.9, "", "guess: Szegedy et al. 2016")
  rmsprop_eps: float = default(1.0, "", "guess: Szegedy et al. 2016")
  # Of the moving average of the weights, which is then what is evaluated.
  ema_decay: float = default(0.0, "a step; no average if 0", "not in the paper")


class Eval:
  """Evaluation (section 3)."""

  eps: float = default(16.0, "of 255", "paper section 3: 'eps = 16'")
  step_size: float = default(
    1.0, "of 255, at least eps / N", "paper section 3: 'alpha = 1'; the floor: FD"
  )
  readings: tuple[int, ...] = default(
    (10, 20, 100, 500, 2000), "steps", "paper appendix C"
  )
  images: int = default(50000, "images, the test split's first", "FD")
  batch_size: int = default(2048, "images", "ours")
  # What the readings above do not measure: how robust the network is.
  attack: str = default(
    "standard", "names, or none if empty", "ours: AutoAttack, Croce & Hein 2020"
  )
  attack_images: int = default(5000, "images, at most", "ours: RobustBench's number")


class Config:
  """A configuration as the type checker sees it; at run time it is a ConfigDict."""

  setting: str = default("", "", "the experiment file's name")
  scale: Literal["paper", "mini"] = default("paper", "", "ours")
  seed: int = default(0, "", "ours")
  init: Init
  data: Data
  model: Model
  attack: Attack
  loss: Loss
  train: Train
  optimizer: Optimizer
  eval: Eval


def _fields(section: type, prefix: str = "") -> Iterator[tuple[str, Any, Default]]:
  """The dotted name, the type and the default of each value."""
  for name, kind in typing.get_type_hints(section).items():
    if isinstance(value := vars(section).get(name), Default):
      yield prefix + name, kind, value
    else:
      yield from _fields(kind, f"{prefix}{name}.")


DEFAULTS: Mapping[str, Default] = {name: value for name, _, value in _fields(Config)}

# What may be chosen, for those values that are a choice.
CHOICES: Mapping[str, tuple[Any, ...]] = {
  name: typing.get_args(kind)
  for name, kind, _ in _fields(Config)
  if typing.get_origin(kind) is Literal
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
  "data.class_digest": "39a730d3fc82d698",
  "data.image_size": 28,
  "data.channels": 1,
  "data.transform": "none",
  "data.interpolation": "pillow",
  "data.orientation": "stored",
  "data.workers": 0,
  "model.depth": 0,
  "model.stages": (1, 1, 1),
  "model.block": "basic",
  "model.width": 16,
  "model.stem": "small_stride2",
  "model.gn_groups": 8,
  "model.dtype": "float32",
  "model.scan": False,
  "model.remat": "none",
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
  "eval.attack": "apgd-ce",
  "eval.attack_images": 1000,
}
