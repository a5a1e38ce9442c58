"""What the training loop adds to the demo's compiled step: see `turns.serve`.

python -m benchmarks.loop

Times "loop", a step within the loop with its images, metrics and records, but not what
a checkpoint takes, in turn with "step", the compiled step alone on images that are
there. "waits" is the time of a step that the loop waits for images, and "images" what
making a batch takes alone.
"""

import dataclasses
import functools
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from benchmarks import turns
from experiments import mbn_alp
from robustjax.config import Config
from robustjax.run import data, schedule, steps
from robustjax.runtime import checkpoint, metrics, parallel
from robustjax.runtime.preemption import Stop
from robustjax.training import loop

# Of a run of so many steps the first few are not counted: images are made ahead, and a
# step is fetched once the next one is on its way.
STEPS, BEFORE = 34, 4


class Watched:
  """An iterator that notes when it is asked, and how long the answer takes."""

  def __init__(self, batches: Iterator[Any]):
    self._batches = batches
    self.asked: list[float] = []
    self.waited: list[float] = []

  def __iter__(self) -> "Watched":
    return self

  def __next__(self) -> Any:
    self.asked.append(time.perf_counter())
    batch = next(self._batches)
    self.waited.append(time.perf_counter() - self.asked[-1])
    return batch

  def step(self) -> float:
    """Seconds between two requests, on average."""
    return (self.asked[-1] - self.asked[BEFORE]) / (len(self.asked) - BEFORE - 1)

  def wait(self) -> float:
    """Seconds that one of these requests waited, on average."""
    counted = self.waited[BEFORE:-1]
    return sum(counted) / len(counted)


class Demo:
  """The demo's loop and its parts.

  Args:
    config: of the demo, or of a run as small.
  """

  def __init__(self, config: Config):
    self._config, self._mesh = config, parallel.mesh()
    self._images = data.open_data(config).train
    self._steps = steps.train_steps(config, self._mesh)
    self._key = jax.random.key(0)
    self._waits = 0.0

  def _state(self) -> Any:
    initial = jax.jit(lambda key: steps.initial_state(self._config, key))
    return parallel.replicate(initial(self._key), self._mesh)

  def _batches(self) -> Iterator[Any]:
    return data.train_batches(self._config, self._images, self._mesh, 0)

  def loop(self) -> float:
    """Seconds of a step within the loop."""
    usual = schedule.schedule(self._config)
    short = dataclasses.replace(usual, steps=STEPS, save_every=STEPS)
    watched = Watched(self._batches())
    with tempfile.TemporaryDirectory() as folder:
      records = metrics.MetricsLog(Path(folder), 0)
      saved = checkpoint.Checkpoints(
        Path(folder) / "checkpoints", loop.BEST, {}, records.digest
      )
      loop.train(
        self._state(),
        self._steps,
        watched,
        self._key,
        short,
        validate=lambda _: {loop.BEST: 0.0},
        checkpoints=saved,
        metrics_log=records,
        stop=Stop(),
        shows=False,
      )
      saved.close()
      records.close()
    self._waits = watched.wait()
    return watched.step()

  def waits(self) -> float:
    """Seconds of a step that the last `loop` waited for images."""
    return self._waits

  def step(self) -> float:
    """Seconds of the compiled step alone."""
    state, batch, step = self._state(), next(self._batches()), self._steps["batch"]
    state, _ = step(state, batch, self._key)
    jax.block_until_ready(state)
    count = STEPS - BEFORE - 1
    start = time.perf_counter()
    for _ in range(count):
      state, _ = step(state, batch, self._key)
    jax.block_until_ready(state)
    return (time.perf_counter() - start) / count

  def images(self) -> float:
    """Seconds of a batch, with nothing beside it."""
    batches = itertools.islice(self._batches(), 2 * STEPS)
    for batch in itertools.islice(batches, BEFORE):
      jax.block_until_ready(batch)
    start, count = time.perf_counter(), 0
    for batch in batches:
      jax.block_until_ready(batch)
      count += 1
    return (time.perf_counter() - start) / count


def main() -> None:
  """The command line; see the module's docstring."""

  def prepare() -> tuple[turns.Forms, dict[str, Any]]:
    config = mbn_alp.get_config("mini")
    parallel.a_device_a_core(fits=functools.partial(steps.fit, config))
    demo = Demo(config)
    # In this order: "waits" is of the "loop" before it.
    forms = {f.__name__: f for f in (demo.loop, demo.waits, demo.step, demo.images)}
    return forms, {}

  turns.serve(prepare)


if __name__ == "__main__":
  main()
