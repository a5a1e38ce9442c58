"""One preflight: a configuration and a target in, all that is known of them out."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from robustjax import config as configs
from robustjax.config import Config
from robustjax.errors import UserError
from robustjax.preflight import chips, compiling, programs
from robustjax.preflight.answers import Compiled
from robustjax.preflight.forecast import Forecast, Roof, forecast_of, roof
from robustjax.preflight.largest import Largest, largest
from robustjax.preflight.programs import Program
from robustjax.preflight.topology import Target
from robustjax.run import steps, trial
from robustjax.runtime import parallel

# More bytes than any program's code: 0.17 GiB was the most in docs/tpu_table.
CODE = chips.GIB // 4


@dataclasses.dataclass(frozen=True)
class Checked:
  """A program and what the compiler says of it.

  Attributes:
    program: what was compiled.
    compiled: what came of it.
    hbm: bytes a device that there are.
  """

  program: Program
  compiled: Compiled
  hbm: int

  @property
  def needed(self) -> int | None:
    """Bytes a device, arrays that lie beside it included; None if nobody says."""
    memory, refused = self.compiled.memory, self.compiled.needed
    if memory:
      return memory.total + self.program.beside
    if refused is None:
      return None
    # A refusal's number may be rounded down to the memory that there is.
    return max(refused + self.program.beside, self.hbm + 1)

  @property
  def fits(self) -> bool:
    """Whether the compiler made it and there is memory for it and what lies beside."""
    needed = self.needed
    return bool(self.compiled.memory) and needed is not None and needed <= self.hbm

  @property
  def exceeds(self) -> int | None:
    """Bytes too many; 0 if it fits, None if the compiler does not say."""
    if self.fits:
      return 0
    return None if self.needed is None else max(0, self.needed - self.hbm)


@dataclasses.dataclass(frozen=True)
class Examined:
  """Everything that a preflight knows.

  Attributes:
    config: what was examined.
    target: for which devices.
    checked: its programs, the train step first.
    largest: the largest batch a device, if it was looked for.
    forecast: None where no peak is published or operations could not be counted.
    uncounted: what keeps operations from being counted, library calls for instance.
  """

  config: Config
  target: Target
  checked: list[Checked]
  largest: Largest | None
  forecast: Forecast | None
  uncounted: list[str]

  @property
  def fits(self) -> bool:
    """Whether all programs do."""
    return all(one.fits for one in self.checked)

  @property
  def has_code(self) -> bool:
    """Whether the compiler generated the code of all of them."""
    memories = [one.compiled.memory for one in self.checked]
    return all(memory and memory.code is not None for memory in memories)

  @property
  def is_close(self) -> bool:
    """Whether code that was not generated may be more than the memory that is left."""
    return any(
      one.compiled.memory is not None
      and one.compiled.memory.code is None
      and (one.needed or 0) > one.hbm - CODE
      for one in self.checked
    )

  def roof(self, one: Checked) -> Roof | None:
    """Of one of its programs; None where it does not fit or no peak is published."""
    work = one.compiled.work
    return roof(one.program.name, work, self.config, self.target) if work else None

  @property
  def images(self) -> int:
    """Training images a device."""
    return self.config.train.batch_size // len(self.target.devices)


def examine(
  config: Config,
  target: Target,
  *,
  utilisation: float,
  cache: Path | None = None,
  look_for_largest: bool = True,
  quick: bool = False,
) -> Examined:
  """Compiles what main would run, and adds up what follows.

  Args:
    config: checked.
    target: from `topology`.
    utilisation: the assumed part of the roof.
    cache: where results are kept; nowhere if None.
    look_for_largest: whether to compile other batch sizes too; on TPUs until memory is
      assigned.
    quick: whether to do so with all programs.

  Raises:
    UserError: main would refuse the configuration on these devices.
  """
  check(config, len(target.devices))
  mesh = parallel.mesh(target.devices)

  def compiled(program: Program, quick: bool, remark: str = "") -> Checked:
    answer = compiling.compile_program(
      program, target, cache, quick=quick, remark=remark
    )
    return Checked(program, answer, target.hbm)

  def sized(program: Program, images: int) -> Checked:
    return compiled(program, target.is_tpu, f" with {images} images a device")

  checked = [
    compiled(program, quick)
    for program in (
      *programs.training(config, mesh),
      programs.validation(config, mesh),
      *programs.evaluation(config, mesh),
      *programs.adaptive(config, mesh),
    )
  ]
  largest_batch = None
  if look_for_largest:
    largest_batch = _largest(config, target, checked[0], sized)
  unknown = {name for one in checked for name in uncounted(one)}
  works = {one.program.name: one.compiled.work for one in checked}
  forecast = None if unknown else forecast_of(config, target, works, utilisation)
  return Examined(config, target, checked, largest_batch, forecast, sorted(unknown))


def check(config: Config, devices: int) -> None:
  """What main refuses on so many devices, and the slices on which it would not.

  Raises:
    UserError: main's own line, and over how many devices the batch does split.
  """
  try:
    steps.check(config, devices)
    trial.check(config)
  except UserError as error:
    groups, rest = divmod(config.train.batch_size, config.model.group)
    if rest or groups >= devices or "train.batch_size" not in str(error):
      raise
    raise UserError(
      f"{error}, or take a slice whose number of devices divides {groups}"
    ) from error


def uncounted(one: Checked) -> set[str]:
  """What keeps a program's operations from being counted."""
  work = one.compiled.work
  # How long an adaptive attack searches nobody knows; the forecast counts its steps.
  if work is None or one.program.name in programs.ADAPTIVE.values():
    return set()
  attack = work.longest_loop  # of which the evaluation says only later how many steps
  is_expected = one.program.name == programs.ADVANCE and attack and attack.trips is None
  loops = work.unknown_loops > bool(is_expected)
  return work.all_uncounted | ({"loops of unknown trips"} if loops else set())


def _largest(
  config: Config,
  target: Target,
  known: Checked,
  compiled: Callable[[Program, int], Checked],
) -> Largest:
  devices = len(target.devices)
  code = known.compiled.memory.code if known.compiled.memory else None

  def needed(images: int) -> int | None:
    sized = configs.copy(config)
    sized.train.batch_size = images * devices
    one = compiled(programs.training(sized, parallel.mesh(target.devices))[0], images)
    memory = one.compiled.memory
    if memory is None or memory.code is not None or one.needed is None:
      return one.needed
    return one.needed + (code or 0)  # there is no more of it for more images

  return largest(
    needed,
    group=config.model.group,
    hbm=target.hbm,
    known=(config.train.batch_size // devices, known.needed),
  )


def advice(one: Checked, config: Config, images: int) -> str:
  """What to change for a program that does not fit, with so many images a device."""
  if one.compiled.crashed:
    return "another batch size, --noconfig.model.scan, or another libtpu"
  name, model = one.program.name, config.model
  ways = ["a smaller --config.eval.batch_size, or more chips"]
  if name in (programs.TRAIN, programs.RUNNING):
    ways = ["more chips or a smaller --config.train.batch_size (fewer images a device)"]
    if images <= model.group:  # main refuses less than a group a device
      ways = ["--config.model.group (fewer images that share their statistics)"]
  if name in programs.DIFFERENTIATED:
    if model.remat != "block":
      ways.append("--config.model.remat=block, which computes activations again")
    ways.append("a smaller --config.model.depth")
  return "; ".join(ways)
