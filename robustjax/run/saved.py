"""What a run has saved, read back: its configuration and its states."""

from pathlib import Path
from typing import Any

import flax.serialization
import jax

from robustjax import config as configs
from robustjax.config import Config
from robustjax.errors import UserError
from robustjax.models import blocks
from robustjax.run import steps
from robustjax.run import workdir as workdirs
from robustjax.runtime import checkpoint, log, parallel
from robustjax.training import loop
from robustjax.training.state import TrainState


def read_config(run: Path) -> Config:
  """The configuration that a run's config.json holds.

  Raises:
    UserError: the folder holds no run, or the file is damaged.
  """
  path = run / workdirs.CONFIG
  if not path.is_file():
    raise UserError(f"{run} is not the folder of a run: it has no {workdirs.CONFIG}")
  values = log.read_json(path)
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
  """The state of a checkpoint, replicated over some devices.

  Args:
    config: of the run.
    run: its folder, which stays as it is.
    mesh: from `parallel.mesh`.
    at: the step; the latest by default.

  Raises:
    UserError: there is none, it is damaged, or it is of another model.
  """
  if not workdirs.has_checkpoint(run):
    raise UserError(f"{run} has no checkpoint yet: train it first")
  checkpoints = checkpoint.Checkpoints(run / workdirs.CHECKPOINTS, loop.BEST)
  try:
    return load(checkpoints, config, mesh, at)
  finally:
    checkpoints.close()


def load(
  checkpoints: checkpoint.Checkpoints,
  config: Config,
  mesh: Any,
  at: int | None = None,
) -> TrainState:
  """The state of a checkpoint, replicated; of a scanned network or not, as it is here.

  Args:
    checkpoints: of the run.
    config: of the run; its model.scan may be another than when it was saved.
    mesh: the devices.
    at: the step; the latest by default.

  Raises:
    UserError: there is none, it is damaged, or it is of another model.
  """
  own = parallel.abstract_replicas(steps.abstract_state(config), mesh)
  if checkpoints.fits(own, at):
    return checkpoints.restore(own, at)
  other = configs.copy(config)
  other.model.scan = not config.model.scan
  shapes = parallel.abstract_replicas(steps.abstract_state(other), mesh)
  if not checkpoints.fits(shapes, at):
    return checkpoints.restore(own, at)  # which says what is different
  change = blocks.stack if config.model.scan else blocks.unstack

  def changed(state: TrainState) -> TrainState:
    tree = change(flax.serialization.to_state_dict(state))
    return flax.serialization.from_state_dict(own, tree)

  shardings = jax.tree.map(lambda x: x.sharding, own)
  return jax.jit(changed, out_shardings=shardings)(checkpoints.restore(shapes, at))
