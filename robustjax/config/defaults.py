"""Every default with its unit and its source, and the small scale's values.

A source is a section of the paper ("Intriguing properties of adversarial training"),
"FD" (facebookresearch/ImageNet-Adversarial-Training, the paper's training pipeline),
"ours" (a choice of this project that changes no result of the paper's setting), or
"guess": neither the paper nor FD says it, and results may depend on it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Default(NamedTuple):
  """A value, its unit ("" for none) and where it comes from."""

  value: Any
  unit: str
  source: str


DEFAULTS: Mapping[str, Default] = {
  "setting": Default("", "", "the experiment file's name"),
  "scale": Default("paper", "", "ours"),
  "seed": Default(0, "", "ours"),
  # A finished run whose weights this one starts from (section 4.4).
  "init.run": Default("", "folder; from scratch if empty", "paper section 4.4"),
  # Images.
  "data.name": Default("imagenet2012", "TFDS name, or a path", "paper section 3"),
  "data.version": Default("5.1.0", "TFDS version; empty for a path", "ours"),
  "data.data_dir": Default("", "folder; TFDS's own if empty", "ours"),
  "data.test_split": Default("validation", "", "FD"),
  "data.train_examples": Default(1281167, "images", "paper section 3: ImageNet"),
  "data.test_examples": Default(50000, "images", "FD: ImageNet's validation set"),
  "data.classes": Default(1000, "classes", "paper section 3"),
  # `sources.class_digest` of the synsets in the order of TFDS's labels, which is also
  # that of sorted folders.
  "data.class_digest": Default(
    "385e0240499426c0", "of the class names; not checked if empty", "ours"
  ),
  "data.image_size": Default(224, "pixels", "FD"),
  "data.channels": Default(3, "RGB", "FD; RGB where FD has BGR: ours"),
  "data.transform": Default("imagenet", "", "FD"),
  "data.broken_images": Default("stop", "stop or skip", "ours"),
  "data.workers": Default(16, "processes", "ours"),
  # The network.
  "model.depth": Default(152, "layers", "paper section 3: 'ResNet-152'"),
  "model.stages": Default((), "blocks a stage, instead of depth", "ours"),
  "model.block": Default("", "by depth if empty", "ours"),
  "model.width": Default(64, "channels", "FD"),
  "model.stem": Default("imagenet", "", "FD"),
  "model.norm": Default("bn", "bn, mbn or gn", "paper section 4"),
  "model.group": Default(32, "images", "FD: 32 images a GPU share BN statistics"),
  "model.gn_groups": Default(32, "groups of channels", "guess: Wu & He 2018"),
  "model.dtype": Default("bfloat16", "", "guess: FD trains in float32"),
  # How the network is computed, and not what (benchmarks/README.md).
  "model.scan": Default(True, "a stage's blocks in a loop", "ours"),
  "model.remat": Default("block", "none, convolutions or block", "ours"),
  # The attack of training (section 3).
  "attack.eps": Default(16.0, "of 255", "paper section 3: 'eps=16'"),
  "attack.step_size": Default(1.0, "of 255", "paper section 3: 'step size alpha=1'"),
  "attack.steps": Default(30, "steps", "paper section 3: 'N = 30'"),
  "attack.clean_start": Default(
    0.2,
    "probability",
    "paper section 3: 'probability = 0.2', read as for each image; FD: a GPU's batch",
  ),
  # What a batch mixes (section 4.1).
  "loss.adv": Default(True, "", "paper section 4.1: '100% adv'"),
  "loss.clean_ratio": Default(
    0.0, "clean images an adversarial one", "paper section 4.1"
  ),
  "loss.alp_weight": Default(0.0, "", "paper section 4.1"),
  "loss.label_smoothing": Default(0.1, "", "FD"),
  # The schedule.
  "train.batch_size": Default(4096, "images", "paper appendix B.3"),
  "train.epochs": Default(110.0, "epochs", "paper section 3"),
  "train.running_statistics_epochs": Default(0.0, "last epochs", "paper section 4.3"),
  "train.parameters": Default("all", "all or norm", "paper section 4.4"),
  "train.save_every_epochs": Default(1.0, "epochs", "ours"),
  "train.log_every_steps": Default(10, "steps", "ours"),
  "train.validation_images": Default(2048, "images, the test split's last", "ours"),
  # The optimiser.
  "optimizer.name": Default("sgd", "sgd or rmsprop", "paper appendix A; FD"),
  "optimizer.lr_per_256": Default(0.1, "a batch of 256", "FD: 0.1 * batch / 256"),
  "optimizer.warmup_epochs": Default(5.0, "epochs", "FD"),
  "optimizer.warmup_from": Default(0.1, "", "paper appendix A; FD"),
  "optimizer.decay_epochs": Default((35.0, 70.0, 95.0), "epochs", "paper section 3"),
  "optimizer.decay_every": Default(0.0, "epochs, instead of decay_epochs", "ours"),
  "optimizer.decay_factor": Default(0.1, "", "paper section 3: 'by 10x'"),
  "optimizer.momentum": Default(0.9, "", "FD"),
  "optimizer.nesterov": Default(True, "", "FD"),
  "optimizer.weight_decay": Default(1e-4, "kernels only", "FD"),
  "optimizer.rmsprop_decay": Default(0.9, "", "guess: Szegedy et al. 2016"),
  "optimizer.rmsprop_eps": Default(1.0, "", "guess: Szegedy et al. 2016"),
  # Evaluation (section 3).
  "eval.eps": Default(16.0, "of 255", "paper section 3: 'eps = 16'"),
  "eval.step_size": Default(
    1.0, "of 255, at least eps / N", "paper section 3: 'alpha = 1'; the floor: FD"
  ),
  "eval.readings": Default((10, 20, 100, 500, 2000), "steps", "paper appendix C"),
  "eval.images": Default(50000, "images, the test split's first", "FD"),
  "eval.batch_size": Default(2048, "images", "ours"),
}

# What was in effect before a value existed: an older config.json that lacks the name is
# read as if it said so.
BEFORE: Mapping[str, Any] = {
  "data.class_digest": "",
  "data.broken_images": "stop",
  "model.scan": False,
  "model.remat": "none",
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
}
