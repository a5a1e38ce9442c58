"""What JAX is set to while a command runs, whatever a person's environment says.

JAX_DEFAULT_PRNG_IMPL, JAX_ENABLE_X64 and others, which notebooks and login files set,
would give an image another target or start, and a run that goes on another end.
"""

import contextlib
from collections.abc import Iterator

import jax

from robustjax.runtime import compile_cache

PRNG = "threefry2x32"  # of every key: the same on all platforms, and for each image

_OURS = {
  "jax_default_matmul_precision": None,  # where more is needed, a layer says so
  "jax_default_prng_impl": PRNG,
  "jax_enable_custom_prng": False,
  "jax_enable_x64": False,
  "jax_legacy_prng_key": "allow",
  "jax_numpy_dtype_promotion": "standard",
  "jax_numpy_rank_promotion": "allow",
  "jax_random_seed_offset": 0,
  "jax_softmax_custom_jvp": False,
  "jax_threefry_partitionable": True,
}


@contextlib.contextmanager
def ours(keeps: bool = True) -> Iterator[None]:
  """The settings that results depend on, for as long as it lasts; a decorator, too.

  Args:
    keeps: whether what is compiled meanwhile is kept for later processes, see
      `compile_cache`; JAX cannot read back what is for devices that are not here.
  """
  before = {name: getattr(jax.config, name) for name in _OURS}
  try:
    for name, value in _OURS.items():
      jax.config.update(name, value)
    with compile_cache.kept() if keeps else contextlib.nullcontext():
      yield
  finally:
    for name, value in before.items():
      # Of a choice, JAX gives a member of an enumeration and takes its value.
      jax.config.update(name, getattr(value, "value", value))


def key(seed: int | jax.Array) -> jax.Array:
  """The PRNG key of a seed, 0 and up, of the same kind whoever asks."""
  return jax.random.key(seed, impl=PRNG)
