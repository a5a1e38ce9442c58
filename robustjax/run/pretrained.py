"""Starting from the weights of a finished run (paper section 4.4), or of a file."""

import shlex
from typing import Any

from robustjax.config import Config
from robustjax.errors import UserError
from robustjax.models import norm as norms
from robustjax.run import commandline, saved
from robustjax.run import network as networks
from robustjax.run import schedule as schedules
from robustjax.run import workdir as workdirs
from robustjax.training import average
from robustjax.training.state import TrainState

# What the weights of a network depend on.
_SAME = ("model.", "data.channels", "data.classes")
_FREE = ("model.dtype", "model.group", "model.remat", "model.scan")
_BLOCKS = ("model.depth", "model.stages", "model.block")  # in two ways


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
  if folder.is_file():
    raise UserError(
      f"{folder}, which this run starts from, is a file: make a run of it with"
      f" python -m robustjax.weights import {folder} --out=DIR, and {name}"
    )
  if not (folder / workdirs.CONFIG).exists():
    raise UserError(f"{folder}, which this run starts from, holds no run: {name}")
  source = saved.read_config(folder)
  steps = schedules.schedule(source).steps
  if not (folder / workdirs.CHECKPOINTS / str(steps)).exists():
    raise UserError(
      f"{folder}, which this run starts from, has no checkpoint of its last step,"
      f" {steps}: finish that run, or {name}"
    )
  if differ := _differences(source, config):
    what = ", ".join(f"config.{n}={theirs!r}" for n, (theirs, _) in differ.items())
    own = ", ".join(repr(ours) for _, ours in differ.values())
    raise UserError(
      f"{folder}, which this run starts from, has {what}, and this run {own}: make them"
      f" the same with {_flags(differ)}, or {name}"
    )


def _differences(source: Config, config: Config) -> dict[str, tuple[Any, Any]]:
  """What keeps the weights of one run from the network of another: name -> both values.

  Weights under BN may begin both branches of Mixture BN.
  """
  found = {
    name: (theirs, ours)
    for name, theirs, ours in workdirs.differences(source, config)
    if name.startswith(_SAME) and name not in _FREE
  }
  if _blocks(source) == _blocks(config):
    found = {name: pair for name, pair in found.items() if name not in _BLOCKS}
  if found.get("model.norm") == ("bn", "mbn"):
    del found["model.norm"]
  if "gn" not in (source.model.norm, config.model.norm):
    found.pop("model.gn_groups", None)
  return found


def _blocks(config: Config) -> tuple[str, tuple[int, ...]]:
  if not networks.is_resnet(config):
    return "", ()
  net = networks.resnet_of(config, "cpu")
  return net.block, tuple(net.stages)


def _flags(differ: dict[str, tuple[Any, Any]]) -> str:
  """The flags that make a run's values those of the run that it starts from."""

  def word(value: Any) -> str:
    if not isinstance(value, list):
      return str(value)
    return f"({', '.join(map(str, value))}{',' * (len(value) == 1)})"

  return " ".join(
    shlex.quote(f"--config.{name}={word(theirs)}")
    for name, (theirs, _) in differ.items()
  )


def weights(config: Config, state: TrainState, mesh: Any) -> TrainState:
  """The state before the first step with the weights of the run it starts from.

  Args:
    config: checked, with an init.run.
    state: before the first step.
    mesh: the devices.

  Returns:
    `state` with that run's last parameters and running statistics. Both branches of
    Mixture BN begin with those of plain BN.

  Raises:
    UserError: its checkpoint is damaged.
  """
  folder = commandline.path(config.init.run)
  source = saved.read_config(folder)
  source.model.scan = config.model.scan  # the form that its weights are wanted in
  trained = saved.restore(source, folder, mesh, schedules.schedule(source).steps)
  params, batch_stats = trained.params, trained.batch_stats
  if (source.model.norm, config.model.norm) == ("bn", "mbn"):
    params, batch_stats = norms.in_both(params), norms.in_both(batch_stats)
  begins = state.replace(params=params, batch_stats=batch_stats)
  return average.begun(begins) if config.optimizer.ema_decay else begins
