"""The programs of a run: the very functions that main compiles, with its arguments.

The arguments are shapes alone, spread over the devices as main spreads its arrays.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from robustjax.config import Config
from robustjax.evaluation import compiled, suite, trajectory
from robustjax.evaluation.robustness import images_a_device
from robustjax.run import network, steps
from robustjax.runtime import parallel, settings

TRAIN, RUNNING = "train step", "train step, running statistics"
VALIDATION = "validation step"
BEGIN, ADVANCE, READ = (
  "evaluation, first iterate", "evaluation, attack steps", "evaluation, reading",
)  # fmt: skip

ADAPTIVE = {name: f"evaluation, {name}" for name in suite.NAMES}

# Those in the precision of training: the evaluation's are in float32.
OF_TRAINING = frozenset({TRAIN, RUNNING, VALIDATION})

# Those with a gradient, and so with activations that are kept or computed again.
DIFFERENTIATED = frozenset(
  {*OF_TRAINING, ADVANCE, *ADAPTIVE.values()} - {ADAPTIVE["square"]}
)


@dataclasses.dataclass(frozen=True)
class Program:
  """One program of a run.

  Attributes:
    name: one of the names above.
    function: jitted, as `run.steps` makes it.
    arguments: what main calls it with, as shapes.
    parts: what the arguments are -> bytes a device.
    config: what it is made from.
    beside: bytes a device of arrays that main keeps while it runs, and that are none
      of its arguments.
  """

  name: str
  function: Any
  arguments: tuple[Any, ...]
  parts: Mapping[str, int]
  config: Config
  beside: int = 0


def named(name: str, config: Config, mesh: Any) -> Program:
  """One of them by its name."""
  if name in (TRAIN, RUNNING):
    programs = training(config, mesh)
  elif name == VALIDATION:
    programs = [validation(config, mesh)]
  elif name in ADAPTIVE.values():
    programs = adaptive(config, mesh)
  else:
    programs = evaluation(config, mesh)
  return next(program for program in programs if program.name == name)


def training(config: Config, mesh: Any) -> list[Program]:
  """The train steps: one, or two where the last epochs have running statistics."""
  state = _state(config, mesh)
  batch = _batch(config, mesh, config.train.batch_size)
  parts = {**_parts(state), "batch": _share(batch, mesh)}
  names = {"batch": TRAIN, "running": RUNNING}
  return [
    Program(names[statistics], function, (state, batch, _key()), parts, config)
    for statistics, function in steps.train_steps(config, mesh).items()
  ]


def validation(config: Config, mesh: Any) -> Program:
  """The step that counts over a batch during training."""
  state = _state(config, mesh)
  batch = _batch(config, mesh, config.eval.batch_size, masked=True)
  parts = {**_parts(state), "batch": _share(batch, mesh)}
  function = steps.eval_step(config, mesh)
  # The step does not take the optimiser's state, which is there all the same.
  beside = _bytes(state.opt_state)
  return Program(VALIDATION, function, (state, batch, _key()), parts, config, beside)


def evaluation(config: Config, mesh: Any) -> list[Program]:
  """The functions of the evaluation that follows training, attack steps first."""
  mapped = steps.evaluation_steps(config, mesh)
  state = _state(config, mesh)
  variables = list(network.branches(config, state.variables).values())[-1]
  batch = _batch(config, mesh, config.eval.batch_size, masked=True)
  targets, adv = (
    parallel.abstract_shards(x, mesh)
    for x in jax.eval_shape(mapped.begin, batch, _key())
  )
  of_network = {
    "parameters": _bytes(variables["params"]),
    "statistics": _bytes(variables.get("batch_stats", {})),
  }
  parts = {**of_network, "batch": _share((batch, targets, adv), mesh)}
  # The first iterate is kept for the next trajectory; a reading takes no image.
  beside = _bytes(state) - sum(of_network.values()) + _share(adv, mesh)
  image = _share(batch["image"], mesh)
  (first, *_) = trajectory.trajectories(
    config.eval.readings, config.eval.eps, config.eval.step_size
  )
  chunk = min(trajectory.CHUNK, first.readings[0])
  attack = (variables, batch, adv, targets, first.step_size, chunk)
  reading = (variables, batch, adv, targets, batch["mask"])
  begin = {"batch": _share(batch, mesh)}
  return [
    Program(ADVANCE, mapped.advance, attack, parts, config, beside),
    Program(READ, mapped.read, reading, parts, config, beside + image),
    Program(BEGIN, mapped.begin, (batch, _key()), begin, config, _bytes(state)),
  ]


def adaptive(config: Config, mesh: Any) -> list[Program]:
  """The attacks that the evaluation ends with, each against a full batch."""
  if not config.eval.attack:
    return []
  state = _state(config, mesh)
  platform = parallel.platform(mesh.devices.flat[0])
  branch = next(iter(network.of_run(config, state.variables, platform).values()))
  shape = config.data.image_size, config.data.image_size, config.data.channels
  made = compiled.programs(branch, steps.attacks(config), shape, mesh)
  batch = _batch(config, mesh, images_a_device(platform) * mesh.size, masked=True)
  found = parallel.abstract_shards(jax.eval_shape(made.begin, batch), mesh)
  numbers = jnp.uint32(config.seed), jnp.int32(0), jnp.int32(0)
  of_network = _bytes(branch.variables)
  parts = {"network": of_network, "batch": _share((batch, found), mesh)}
  return [
    Program(
      ADAPTIVE[name],
      function,
      (branch.variables, batch, *numbers, found),
      parts,
      config,
      _bytes(state) - of_network,
    )
    for name, function in made.attack.items()
  ]


def _state(config: Config, mesh: Any) -> Any:
  return parallel.abstract_replicas(steps.abstract_state(config), mesh)


def _key() -> Any:
  return jax.eval_shape(lambda: settings.key(0))


def _batch(
  config: Config, mesh: Any, size: int, masked: bool = False
) -> dict[str, Any]:
  """A batch as `data.pipeline` makes it."""
  data = config.data
  image = (size, data.image_size, data.image_size, data.channels)
  kinds: dict[str, tuple[tuple[int, ...], Any]] = {"image": (image, jnp.uint8)}
  kinds |= {name: ((size,), jnp.int32) for name in ("label", "index")}
  kinds |= {"mask": ((size,), jnp.bool_)} if masked else {}
  kinds |= {"skipped": ((size,), jnp.int32)} if data.broken_images == "skip" else {}
  arrays = {name: jax.ShapeDtypeStruct(*kind) for name, kind in kinds.items()}
  return parallel.abstract_shards(arrays, mesh)


def _parts(state: Any) -> dict[str, int]:
  return {
    "parameters": _bytes(state.params),
    "optimiser": _bytes(state.opt_state),
    "statistics": _bytes(state.batch_stats),
  }


def _bytes(tree: Any) -> int:
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _share(tree: Any, mesh: Any) -> int:
  return _bytes(tree) // mesh.size
