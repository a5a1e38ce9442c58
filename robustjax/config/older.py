"""What was in effect before a value of the configuration existed."""

from collections.abc import Mapping
from typing import Any

# An older config.json that lacks the name is read as if it said so.
BEFORE: Mapping[str, Any] = {
  "init.weights": "",
  "data.class_digest": "",
  "data.broken_images": "stop",
  "data.resize": 256,
  "data.interpolation": "pillow",
  "data.orientation": "stored",
  "model.network": "resnet",
  "model.bottleneck": 1,
  "model.cardinality": 1,
  "model.padding": "SAME",
  "model.activation": "relu",
  "model.non_local": "none",
  "model.input_mean": (127.5,),
  "model.input_std": (127.5,),
  "model.scan": False,
  "model.remat": "none",
  "attack.name": "pgd",
  "loss.name": "mixture",
  "loss.beta": 6.0,
  "train.tracker": "",
  "optimizer.schedule": "steps",
  "optimizer.ema_decay": 0.0,
  "eval.attack": "",
  "eval.attack_images": 5000,
}

# Came after the digest by which a complete run is known to be of its configuration
# (`run.workdir.digest`): it leaves them out where they are as before.
SINCE_DIGESTS = (
  "model.network", "attack.name", "loss.name", "loss.beta", "optimizer.schedule",
  "optimizer.ema_decay",
)  # fmt: skip
