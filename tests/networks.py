"""A small curved network and its images, for evaluations; `module:function` too."""

import jax
import jax.numpy as jnp
import numpy as np

from robustjax.evaluation.network import Network
from robustjax.runtime import parallel

CLASSES, COUNT, SIDE = 6, 60, 4
_rng = np.random.default_rng(0)
WEIGHTS = {
  "first": (_rng.normal(size=(3 * SIDE * SIDE, 24)) / 7).astype(np.float32),
  "second": _rng.normal(size=(24, CLASSES)).astype(np.float32),
}
OTHER = {k: v + 0.2 * _rng.normal(size=v.shape) for k, v in WEIGHTS.items()}
IMAGES = _rng.integers(0, 256, (COUNT, SIDE, SIDE, 3)).astype(np.uint8)


def logits(weights, images):
  flat = images.reshape(len(images), -1).astype(jnp.float32) / 127.5 - 1
  return jnp.tanh(flat @ weights["first"]) @ weights["second"]


# Every seventh is a mistake.
LABELS = np.array(logits(WEIGHTS, IMAGES).argmax(-1), np.int32)
LABELS[::7] = (LABELS[::7] + 1) % CLASSES


def function():
  """What `robustjax.evaluate tests.networks:function` asks for."""
  return lambda images: logits(WEIGHTS, images)


def of_other_channels():
  return lambda images: logits(WEIGHTS, images[..., ::-1])


def not_a_function():
  return 3


def breaks():
  return lambda images: images @ WEIGHTS["first"]


def image_shaped():
  return lambda images: images


def network(weights=None, branch="all", fn=logits):
  weights = jax.tree.map(jnp.asarray, WEIGHTS if weights is None else weights)
  return Network("networks", branch, weights, fn, fn)


def batches(indices, batch_size, mesh, labels=LABELS, images=IMAGES, skipped=()):
  """Padded and masked batches of some images, as `run.data.Images` makes them."""
  for first in range(0, len(indices), batch_size):
    rows = [int(i) for i in indices[first : first + batch_size]]
    padding = batch_size - len(rows)
    at = np.array(rows + [rows[0]] * padding)
    batch = {
      "image": images[at],
      "label": labels[at],
      "index": np.array(rows + [-1] * padding, np.int32),
      "mask": np.array([r not in skipped for r in rows] + [False] * padding),
    }
    yield parallel.shard(batch, mesh)
