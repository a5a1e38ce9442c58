"""What a run has saved, read back: its configuration and its states."""

from pathlib import Path
from typing import Any

from robustjax import assemble
from robustjax import config as configs
from robustjax import workdir as workdirs
from robustjax.errors import UserError
from robustjax.runtime import checkpoint, log, parallel
from robustjax.training import loop
from robustjax.training.state import TrainState


def read_config(run: Path) -> assemble.Config:
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


def restore(
  config: assemble.Config, run: Path, mesh: Any, at: int | None = None
) -> TrainState:
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
  shapes = parallel.abstract_replicas(assemble.abstract_state(config), mesh)
  checkpoints = checkpoint.Checkpoints(run / workdirs.CHECKPOINTS, loop.BEST)
  try:
    return checkpoints.restore(shapes, at)
  finally:
    checkpoints.close()
