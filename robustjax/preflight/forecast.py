"""How long a run would take: arithmetic on counted work and published numbers.

Nothing here is measured. No device does a program in less than its operations take at
the published peak, or its bytes at the published bandwidth: the larger of the two is
its roof. One and the same part of it is assumed to be reached in every program: the
utilisation.
"""

import dataclasses
from collections.abc import Mapping

from robustjax.config import Config
from robustjax.evaluation import trajectory
from robustjax.preflight import programs
from robustjax.preflight.topology import Target
from robustjax.preflight.work import Work
from robustjax.run import network as networks
from robustjax.run import schedule as schedules
from robustjax.run import steps

HOUR, DAY = 3600.0, 86400.0  # seconds


@dataclasses.dataclass(frozen=True)
class Amount:
  """How much a run has to do.

  Attributes:
    batch_size: images a training step, over all devices.
    steps: training steps, those with running statistics among them.
    running_steps: training steps with running statistics.
    validations: how often it validates.
    validation_batches: batches each time.
    attack_steps: of training, and so of validation.
    evaluation_batches: of the evaluation.
    branches: through which it evaluates.
    evaluation_steps: attack steps of all trajectories.
    readings: of a branch, that of the clean images among them.
    adaptive_gradients: attack steps of the adaptive attacks, in batches of the
      evaluation, if no image were ever broken.
    adaptive_passes: how often they classify such a batch.
  """

  batch_size: int
  steps: int
  running_steps: int
  validations: int
  validation_batches: int
  attack_steps: int
  evaluation_batches: int
  branches: int
  evaluation_steps: int
  readings: int
  adaptive_gradients: float = 0.0
  adaptive_passes: float = 0.0


@dataclasses.dataclass(frozen=True)
class Roof:
  """Seconds in less than which no device does a program.

  Attributes:
    operations: that its operations take at the published peak.
    memory: that its bytes take at the published bandwidth.
  """

  operations: float
  memory: float

  @property
  def seconds(self) -> float:
    """The larger of the two."""
    return max(self.operations, self.memory)

  @property
  def limit(self) -> str:
    """What it is the time of."""
    return "operations" if self.operations >= self.memory else "memory"


@dataclasses.dataclass(frozen=True)
class Times:
  """Seconds of one device, at the roof.

  Attributes:
    step: of a training step.
    running_step: of one with running statistics.
    validation: of a batch that is validated.
    attack_step: of one attack step on a batch of the evaluation.
    reading: of classifying such a batch.
  """

  step: float
  running_step: float
  validation: float
  attack_step: float
  reading: float


@dataclasses.dataclass(frozen=True)
class Forecast:
  """What comes of it; every value is a forecast.

  Attributes:
    utilisation: the assumed part of the roof.
    step_seconds: of a training step.
    images_per_second: training images, over all devices.
    host_images_per_second: that each host has to read, decode and augment.
    training_days: of all steps.
    validation_days: of the validations among them.
    evaluation_days: of the readings after training.
    adaptive_days: of the adaptive attacks after them, at most.
    chip_hours: of all of it but the adaptive attacks, or None where devices are no
      part of chips.
  """

  utilisation: float
  step_seconds: float
  images_per_second: float
  host_images_per_second: float
  training_days: float
  validation_days: float
  evaluation_days: float
  adaptive_days: float
  chip_hours: float | None

  @property
  def days(self) -> float:
    """Training, validations and readings."""
    return self.training_days + self.validation_days + self.evaluation_days


def forecast(
  amount: Amount, times: Times, *, utilisation: float, hosts: int, chips: int | None
) -> Forecast:
  """Days from the seconds of the parts.

  Args:
    amount: how much there is to do.
    times: of one device, at the roof.
    utilisation: the part of it that is reached, above 0 and at most 1.
    hosts: processes that read images.
    chips: how many are rented, or None.
  """
  plain_steps = amount.steps - amount.running_steps
  training = plain_steps * times.step + amount.running_steps * times.running_step
  validation = amount.validations * amount.validation_batches * times.validation
  one_branch = amount.evaluation_steps * times.attack_step
  one_branch += amount.readings * times.reading
  evaluation = amount.evaluation_batches * amount.branches * one_branch
  adaptive = amount.branches * (
    amount.adaptive_gradients * times.attack_step
    + amount.adaptive_passes * times.reading
  )
  step_seconds = times.step / utilisation
  images = amount.batch_size / step_seconds
  total = (training + validation + evaluation) / utilisation
  return Forecast(
    utilisation=utilisation,
    step_seconds=step_seconds,
    images_per_second=images,
    host_images_per_second=images / hosts,
    training_days=training / utilisation / DAY,
    validation_days=validation / utilisation / DAY,
    evaluation_days=evaluation / utilisation / DAY,
    adaptive_days=adaptive / utilisation / DAY,
    chip_hours=chips * total / HOUR if chips else None,
  )


def roof(name: str, work: Work, config: Config, target: Target) -> Roof | None:
  """The roof of a program; of the evaluation's attack steps, that of one of them.

  Args:
    name: of the program.
    work: what one device does in it.
    config: of the run; the evaluation computes in float32 whatever it says.
    target: where.

  Returns:
    The roof, or None where no peak is published.
  """
  if name == programs.ADVANCE and work.longest_loop:
    work = work.longest_loop.body
  bfloat16 = name in programs.OF_TRAINING and config.model.dtype != "float32"
  peak = target.peak if bfloat16 else target.exact_peak
  if peak is None or target.bandwidth is None:
    return None
  return Roof(work.total_flops / peak, work.total_bytes / target.bandwidth)


def forecast_of(
  config: Config,
  target: Target,
  works: Mapping[str, Work | None],
  utilisation: float,
) -> Forecast | None:
  """The forecast of a run from the work of its programs.

  Args:
    config: of the run.
    target: where.
    works: program's name -> work; None where it does not fit.
    utilisation: the assumed part of the roof.

  Returns:
    The forecast; None without a published peak, or if a program does not fit.
  """
  seconds = {}
  for name, work in works.items():
    found = roof(name, work, config, target) if work else None
    if found is None and name not in programs.ADAPTIVE.values():
      return None
    seconds[name] = found.seconds if found else 0.0
  step, attack, reading = (
    seconds[name] for name in (programs.TRAIN, programs.ADVANCE, programs.READ)
  )
  size = amount(config)
  # A validation attacks a batch as training does, and classifies it twice. Where its
  # program was not compiled, the evaluation's stand in for it.
  validation = size.attack_steps * attack + 2 * reading
  times = Times(
    step=step,
    running_step=seconds.get(programs.RUNNING, step),
    validation=seconds.get(programs.VALIDATION, validation),
    attack_step=attack,
    reading=reading,
  )
  return forecast(
    size, times, utilisation=utilisation, hosts=target.hosts, chips=target.chips
  )


def amount(config: Config) -> Amount:
  """How much a configuration has to do."""
  schedule, values = schedules.schedule(config), config.eval
  plan = trajectory.trajectories(values.readings, values.eps, values.step_size)
  running_from = schedule.running_from
  gradients, passes = _adaptive(config)
  return Amount(
    batch_size=config.train.batch_size,
    steps=schedule.steps,
    running_steps=0 if running_from is None else schedule.steps - running_from,
    validations=-(-schedule.steps // schedule.save_every),
    validation_batches=-(-config.train.validation_images // values.batch_size),
    attack_steps=config.attack.steps,
    evaluation_batches=-(-values.images // values.batch_size),
    branches=2 if networks.separate(config) else 1,
    evaluation_steps=sum(one.readings[-1] for one in plan),
    readings=1 + sum(len(one.readings) for one in plan),
    adaptive_gradients=gradients,
    adaptive_passes=passes,
  )


def _adaptive(config: Config) -> tuple[float, float]:
  """Attack steps and passes of the adaptive attacks, in batches of the evaluation."""
  values = config.eval
  if not values.attack:
    return 0.0, 0.0
  gradients = passes = 0
  for attack in steps.attacks(config):
    made = attack.cost * attack.runs(config.data.classes)
    gradients += made if attack.name != "square" else 0
    # FAB looks at each step's image, and Square asks for nothing else.
    passes += made if attack.name in ("fab-t", "square") else 0
  batches = min(values.attack_images, config.data.test_examples) / values.batch_size
  return gradients * batches, passes * batches
