"""Eight virtual devices for every test, and the small nets that they share."""

import signal
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

jax.config.update("jax_num_cpu_devices", 8)
# Many tests compile the same program: it is compiled once.
_cache = tempfile.TemporaryDirectory()
jax.config.update("jax_compilation_cache_dir", _cache.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)

from robustjax.models import norm as norms  # noqa: E402
from robustjax.models import resnet  # noqa: E402

CLASSES = 5


@pytest.fixture(autouse=True, scope="module")
def usual_signals():
  """Undoes what a process inherits, and what the tests before have left.

  A shell starts what is in its background with Ctrl-C ignored, nohup with a closed
  terminal ignored, and libtpu ignores that when it loads; so would be all processes
  that tests send them to.
  """
  signal.signal(signal.SIGINT, signal.default_int_handler)
  signal.signal(signal.SIGHUP, signal.SIG_DFL)
  signal.signal(signal.SIGTERM, signal.SIG_DFL)


def tiny(norm=None, **attributes):
  """A ResNet of two narrow basic blocks for 8x8 images: compiles in a second."""
  attributes = {"block": "basic", "width": 4, "stem": "small", **attributes}
  norm = norm or norms.batch(("clean", "adv"))
  return resnet.make((1, 1), norm=norm, num_classes=CLASSES, **attributes)


def lively(variables, seed=0):
  """Variables with nothing left at its initial 0 or 1, so that everything matters."""
  noise = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: jnp.asarray(x + 0.3 * noise.random(x.shape), jnp.float32), variables
  )


@pytest.fixture(scope="session")
def batch():
  """64 random 8x8 images with labels."""
  key = jax.random.key(7)
  images = jax.random.randint(key, (64, 8, 8, 3), 0, 256).astype(jnp.uint8)
  labels = jnp.arange(64, dtype=jnp.int32) % CLASSES
  index = jnp.arange(100, 164, dtype=jnp.int32)
  return {"image": images, "label": labels, "index": index}
