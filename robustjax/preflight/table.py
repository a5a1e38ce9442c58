"""The page's table: every setting of the paper on some slices.

Settings that differ in constants alone, such as the attack's eps, are one program; so
are those that differ in the attack's steps, which are the trips of a loop. Each program
is compiled once, until memory is assigned, and a table that was stopped goes on from
what is kept. Of the two steps of a training the one with running statistics is left
out: it does less.

The paper's batch is 128 groups of 32 images. On a slice with more devices a setting has
a batch of one group a device instead; a setting with another batch is refused there.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from robustjax import config as configs
from robustjax.config import Config
from robustjax.errors import UserError
from robustjax.paper import settings
from robustjax.preflight import compiling, examination, programs, text
from robustjax.preflight.answers import Compiled
from robustjax.preflight.examination import Checked
from robustjax.preflight.forecast import Forecast, forecast_of
from robustjax.preflight.topology import Target, tpu
from robustjax.preflight.work import Work
from robustjax.runtime import files, log, parallel

# Values that stand in a program as constants: these do for all.
_CONSTANTS = {
  "attack.steps": 30, "attack.step_size": 1.0, "attack.eps": 16.0,
  "attack.clean_start": 0.2, "eval.eps": 16.0, "loss.alp_weight": 0.5,
  "optimizer.lr_per_256": 0.1, "optimizer.warmup_from": 0.1,
}  # fmt: skip
# What no program depends on: the schedule's length, and where weights come from.
_OUTSIDE = {"setting", "init.run", "train.epochs", "train.running_statistics_epochs"}


@dataclasses.dataclass(frozen=True)
class Row:
  """A setting on a slice.

  Attributes:
    refusal: why main would not run it there, else "".
    images: a device.
    needed: bytes a device of the program that needs most, without its code; None if
      nobody says.
    fits: whether its train step and its evaluation do.
    crashed: whether the compiler crashed on one of them.
    forecast: None if it does not fit.
  """

  refusal: str = ""
  images: int = 0
  needed: int | None = None
  fits: bool = False
  crashed: bool = False
  forecast: Forecast | None = None


def write(
  slices: Sequence[str], out: Path, *, utilisation: float, cache: Path | None
) -> None:
  """Compiles what is missing and writes the table after each setting.

  Args:
    slices: names of slices.
    out: the file.
    utilisation: the assumed part of the roof.
    cache: where the compiler's answers are kept.

  Raises:
    UserError: a slice that does not exist, or no compiler.
  """
  targets = [tpu(name) for name in slices]
  names = settings.names("paper")
  rows: dict[tuple[str, str], Row] = {}
  for target in targets:
    compiled: dict[str, list[Checked]] = {}
    for name in names:
      config = enough(paper(name), len(target.devices))
      log.complain(f"{name} on {target.name}")
      rows[name, target.name] = _row(config, target, utilisation, cache, compiled)
      files.write_text(out, page(names, targets, rows, utilisation))


def paper(name: str) -> Config:
  """The configuration of a setting at the paper's scale, by the report's copy of it."""
  config = configs.base(name)
  flat = configs.flatten(config)
  for key, value in (settings.own_values(name, "paper") or {}).items():
    value = tuple(value) if isinstance(value, list) else value
    if value != flat[key]:
      configs.change(config, key, value, "the setting")
  return config


def enough(config: Config, devices: int) -> Config:
  """The configuration with a group for each device, where the batch is the paper's."""
  of_paper = configs.base("table").train.batch_size
  enlarged = configs.copy(config)
  if config.train.batch_size == of_paper:
    enlarged.train.batch_size = max(of_paper, config.model.group * devices)
  return enlarged


def one_program(config: Config) -> Config:
  """The configuration with the constants that do for all settings of its program."""
  same = configs.copy(config)
  for key, value in _CONSTANTS.items():
    if key != "loss.alp_weight" or config.loss.alp_weight:
      configs.change(same, key, value, "the table")
  return same


def _row(
  config: Config,
  target: Target,
  utilisation: float,
  cache: Path | None,
  compiled: dict[str, list[Checked]],
) -> Row:
  try:
    examination.check(config, len(target.devices))
  except UserError as error:
    return Row(refusal=str(error))
  checked = _checked(one_program(config), target, cache, compiled)
  if unknown := {name for one in checked for name in examination.uncounted(one)}:
    raise ValueError(f"operations of {config.setting} are not known: {sorted(unknown)}")
  works = {one.program.name: _with_own_steps(one, config) for one in checked}
  return Row(
    images=config.train.batch_size // len(target.devices),
    needed=max((one.needed for one in checked if one.needed), default=None),
    fits=all(one.fits for one in checked),
    crashed=any(one.compiled.crashed for one in checked),
    forecast=forecast_of(config, target, works, utilisation),
  )


def _checked(
  config: Config,
  target: Target,
  cache: Path | None,
  compiled: dict[str, list[Checked]],
) -> list[Checked]:
  flat = configs.flatten(config)
  inside = {k: v for k, v in flat.items() if k not in _OUTSIDE}
  epochs = config.train.epochs if config.optimizer.decay_every else 0
  key = repr((sorted(inside.items()), epochs))
  if key not in compiled:
    mesh = parallel.mesh(target.devices)
    evaluation = programs.evaluation(config, mesh)
    needed = [programs.training(config, mesh)[0], *evaluation[:2]]
    compiled[key] = [
      Checked(one, _assigned(one, target, cache), target.hbm) for one in needed
    ]
  return compiled[key]


def _assigned(
  program: programs.Program, target: Target, cache: Path | None
) -> Compiled:
  """What is known when memory is assigned, whatever else is kept from other times."""
  answer = compiling.compile_program(program, target, cache, quick=True)
  if answer.memory is None:
    return answer
  memory = dataclasses.replace(answer.memory, code=None)
  return dataclasses.replace(answer, memory=memory)


def _with_own_steps(one: Checked, config: Config) -> Work | None:
  """The work of a program with the setting's own attack steps."""
  work = one.compiled.work
  if work is None or one.program.name != programs.TRAIN or not config.loss.adv:
    return work
  loop = work.longest_loop
  if loop is None or loop.trips != _CONSTANTS["attack.steps"]:
    raise ValueError(f"the attack's loop is not to be seen in the {one.program.name}")
  return work.with_trips(config.attack.steps)


def page(
  names: Sequence[str],
  targets: Sequence[Target],
  rows: Mapping[tuple[str, str], Row],
  utilisation: float,
) -> str:
  """The table as Markdown, with what is not known yet left empty."""
  header = ["Setting"]
  for target in targets:
    header += [f"{target.name}: a device", "hours", "chip-hours"]
  lines = [header, ["---"] + ["---:"] * (len(header) - 1)]
  for name in names:
    cells = [f"`{name}`"]
    for target in targets:
      cells += _cells(rows.get((name, target.name)), target)
    lines.append(cells)
  slices = "".join(f"- {_slice(target)}\n" for target in targets)
  missing = len(names) * len(targets) - len(rows)
  return (
    "".join(f"| {' | '.join(line)} |\n" for line in lines)
    + f"\n{slices}\nCompiled with {targets[0].compiler} until it had assigned memory:"
    " images and memory a device are the compiler's, without the code, and what does"
    " not fit is bold. Hours and chip-hours, of training with its validations and of"
    " the evaluation, are forecasts: each program takes the larger of its operations"
    " over the published peak and its bytes over the published bandwidth, divided by"
    f" {utilisation:.0%}, a guess; nothing was measured on a TPU. Where a batch does"
    " not split over the devices in groups, there is no number.\n"
    + (f"\n{missing} cells are not compiled yet, and empty.\n" if missing else "")
  )


def _slice(target: Target) -> str:
  devices, usual = len(target.devices), configs.base("table")
  batch = enough(usual, devices).train.batch_size
  line = f"{target.name}: {target.chips} chips, {devices} devices"
  line += f" of {text.gib(target.hbm)}"
  if batch == usual.train.batch_size:
    return f"{line}; the paper's batches of {batch}"
  return (
    f"{line}; batches of {batch}, since those of {usual.train.batch_size} are only"
    f" {usual.train.batch_size // usual.model.group} groups of {usual.model.group}"
    f" (`--config.train.batch_size={batch}`, with the learning rate in proportion)"
  )


def _cells(row: Row | None, target: Target) -> list[str]:
  if row is None:
    return ["", "", ""]
  if row.refusal:
    return ["does not split", "", ""]
  if row.crashed:
    return [f"{row.images} images, **the compiler crashes**", "", ""]
  size = f"{row.images} images, {text.gib(row.needed)}"
  if row.forecast is None or not row.fits:
    return [f"**{size} of {text.gib(target.hbm)}**", "", ""]
  return [size, f"{24 * row.forecast.days:.1f}", f"{row.forecast.chip_hours or 0:,.0f}"]
