"""Starting from the weights of a finished run (paper section 4.4)."""

from typing import Any

from robustjax.config import Config
from robustjax.errors import UserError
from robustjax.run import commandline, saved
from robustjax.run import schedule as schedules
from robustjax.run import workdir as workdirs
from robustjax.training.state import TrainState

# What the weights of a network depend on.
_SAME = ("model.", "data.channels", "data.classes")
_FREE = ("model.dtype", "model.group", "model.remat", "model.scan")


def check(config: Config) -> None:
  """Refuses a run to start from that is not there, not finished or of another model.

  Args:
    config: checked; nothing is refused if its init.run is empty.

  Raises:
    UserError: one line with what to do.
  """
  if not config.init.run:
    return
  folder = commandline.path(config.init.run)
  name = "with --config.init.run=DIR name the folder of a finished run"
  if not (folder / workdirs.CONFIG).exists():
    raise UserError(f"{folder}, which this run starts from, holds no run: {name}")
  source = saved.read_config(folder)
  steps = schedules.schedule(source).steps
  if not (folder / workdirs.CHECKPOINTS / str(steps)).exists():
    raise UserError(
      f"{folder}, which this run starts from, has no checkpoint of its last step,"
      f" {steps}: finish that run, or {name}"
    )
  for value, before, after in workdirs.differences(source, config):
    if value.startswith(_SAME) and value not in _FREE:
      raise UserError(
        f"{folder}, which this run starts from, has config.{value}={before!r}, and"
        f" this run {after!r}: make them the same, or {name}"
      )


def weights(config: Config, state: TrainState, mesh: Any) -> TrainState:
  """The state before the first step with the weights of the run it starts from.

  Args:
    config: checked, with an init.run.
    state: before the first step.
    mesh: the devices.

  Returns:
    `state` with that run's last parameters and running statistics.

  Raises:
    UserError: its checkpoint is damaged.
  """
  folder = commandline.path(config.init.run)
  source = saved.read_config(folder)
  source.model.scan = config.model.scan  # the form that its weights are wanted in
  trained = saved.restore(source, folder, mesh, schedules.schedule(source).steps)
  return state.replace(params=trained.params, batch_stats=trained.batch_stats)
