"""What a run has saved, read back: its configuration and its states."""

from pathlib import Path
from typing import Any

import flax.serialization
import jax

from robustjax import config as configs
from robustjax.config import Config
from robustjax.errors import UserError
from robustjax.models import blocks
from robustjax.run import kept, steps
from robustjax.run import workdir as workdirs
from robustjax.runtime import checkpoint, files, log, parallel
from robustjax.training import average
from robustjax.training.state import TrainState


def read_config(run: Path) -> Config:
  """The configuration that a run's config.json holds.

  Raises:
    UserError: the folder holds no run, or the file is damaged.
  """
  path = run / workdirs.CONFIG
  if not path.is_file():
    raise UserError(f"{run} is not the folder of a run: it has no {workdirs.CONFIG}")
  values = files.read_json(path)
  try:
    config = configs.load(values)
    configs.check(config)
  except UserError as error:
    raise UserError(f"{path}: {error}") from error
  except (KeyError, TypeError, AttributeError, ValueError) as error:
    reason = f"{type(error).__name__}: {error}"
    raise UserError(
      f"{path} is damaged or of another version ({reason}): run its command again"
    ) from error
  return config


def restore(config: Config, run: Path, mesh: Any, at: int | None = None) -> TrainState:
  """The state of a checkpoint as it is evaluated, replicated over some devices.

  Nothing is changed on the disk. Where a run keeps an average of its weights, that is
  what is evaluated.

  Args:
    config: of the run.
    run: its folder.
    mesh: from `parallel.mesh`.
    at: the step; by default the latest whose checkpoint is not damaged.

  Raises:
    UserError: there is none, it is damaged, or it is of another run.
  """
  with log.waiting(f"reading the checkpoint of {run}", jax.process_index() == 0):
    state, damaged = newest(config, run, mesh, at)
  for error in damaged.values():
    log.complain(f"{error}: step {int(state.step)} is taken instead")
  for change in kept.changes(run, config, "model."):
    log.complain(f"{change}. What it was trained as may be another network")
  return average.evaluated(state)


def newest(
  config: Config, run: Path, mesh: Any, at: int | None = None
) -> tuple[TrainState, dict[int, files.Damaged]]:
  """The state of the latest checkpoint that is whole, and the later ones' damage.

  Args and errors are those of `restore`.
  """
  directory = run / workdirs.CHECKPOINTS
  steps_there = checkpoint.steps(directory)
  if not steps_there:
    raise UserError(f"{run} has no checkpoint yet: train it first")
  if at is not None and at not in steps_there:
    raise UserError(f"no checkpoint of step {at} in {directory}: it has {steps_there}")
  damaged: dict[int, files.Damaged] = {}
  for step in [at] if at is not None else reversed(steps_there):
    try:
      return _load(directory, config, mesh, step), damaged
    except files.Damaged as error:
      damaged[step] = error
  raise UserError(
    f"no checkpoint is left to go on from: {'; '.join(map(str, damaged.values()))}. Put"
    " one back from a copy, or start in another --workdir"
  )


def damaged_before(run: Path, step: int) -> dict[int, files.Damaged]:
  """The checkpoints before a step whose damage would keep others from being saved."""
  directory = run / workdirs.CHECKPOINTS
  damaged: dict[int, files.Damaged] = {}
  for earlier in checkpoint.steps(directory):
    try:
      if earlier < step:
        checkpoint.about(directory, earlier)
    except files.Damaged as error:
      damaged[earlier] = error
  return damaged


def _load(directory: Path, config: Config, mesh: Any, step: int) -> TrainState:
  """A state; of a scanned network or not, as it is here."""
  of_run = checkpoint.about(directory, step).run
  workdirs.refuse_other(f"{directory / str(step)} is a checkpoint of", of_run, config)
  own = parallel.abstract_replicas(steps.abstract_state(config), mesh)
  if checkpoint.fits(directory, own, step):
    return checkpoint.restore(directory, own, step)
  other = configs.copy(config)
  other.model.scan = not config.model.scan
  shapes = parallel.abstract_replicas(steps.abstract_state(other), mesh)
  if not checkpoint.fits(directory, shapes, step):
    return checkpoint.restore(directory, own, step)  # which says what is different
  change = blocks.stack if config.model.scan else blocks.unstack

  def changed(state: TrainState) -> TrainState:
    tree = change(flax.serialization.to_state_dict(state))
    return flax.serialization.from_state_dict(own, tree)

  shardings = jax.tree.map(lambda x: x.sharding, own)
  found = checkpoint.restore(directory, shapes, step)
  return jax.jit(changed, out_shardings=shardings)(found)
