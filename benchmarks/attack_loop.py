"""How fast an attack runs, by the way that convolutions are computed.

python -m benchmarks.attack_loop --config=experiments/mbn_alp.py:mini

Prints images x steps a second of the configuration's network under attack on this
machine's first device, with `lax` and with `looped` convolutions in turn, five times
each: the median and the extremes.
"""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from robustjax.attacks import pgd
from robustjax.config import Config, flags
from robustjax.run import network

STEPS, REPEATS = 20, 5


def attack_of(config: Config, method: str) -> Callable[[], float]:
  """A compiled attack; each call returns its images x steps a second."""
  net = network.network(config, jax.devices()[0].platform, plain=True)
  net = net.clone(method=method)
  images = min(config.train.batch_size, 128)
  data = config.data
  shape = (images, data.image_size, data.image_size, data.channels)
  x = jax.random.uniform(jax.random.key(0), shape, maxval=255.0)
  variables = jax.jit(net.init)(jax.random.key(1), x)
  attack = pgd.PGD(config.attack.eps, config.attack.step_size, STEPS)
  targets = jnp.zeros(images, jnp.int32)
  keys = pgd.image_keys(jax.random.key(2), jnp.arange(images))
  run = jax.jit(lambda v: attack(lambda x: net.apply(v, x), x, targets, keys))
  run(variables).block_until_ready()

  def timed() -> float:
    start = time.perf_counter()
    run(variables).block_until_ready()
    return images * STEPS / (time.perf_counter() - start)

  return timed


def main() -> None:
  """Measures both methods in turn and prints them."""
  config = flags.parse()
  attacks = {method: attack_of(config, method) for method in ("lax", "looped")}
  speeds: dict[str, list[float]] = {method: [] for method in attacks}
  for _ in range(REPEATS):
    for method, timed in attacks.items():
      speeds[method].append(timed())
  for method, found in speeds.items():
    middle = statistics.median(found)
    extremes = f"{min(found):,.0f} to {max(found):,.0f}"
    print(f"{method}: {middle:,.0f} images x steps/s ({extremes})")
  print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}")


if __name__ == "__main__":
  main()
