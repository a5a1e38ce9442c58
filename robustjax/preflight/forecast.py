"""How long a run would take: arithmetic on counted operations and published peaks.

Nothing here is measured. A device is assumed to reach one and the same part of its peak
in every program: the utilisation.
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
class Operations:
  """Floating point operations of one device, a multiply-add being two.

  Attributes:
    step: in a training step.
    running_step: in one with running statistics.
    attack_step: in one attack step on a batch of the evaluation.
    reading: in classifying such a batch.
  """

  step: float
  running_step: float
  attack_step: float
  reading: float


@dataclasses.dataclass(frozen=True)
class Forecast:
  """What comes of it; every value is a forecast.

  Attributes:
    utilisation: the assumed part of the peak.
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
  amount: Amount,
  operations: Operations,
  *,
  peak: float,
  exact_peak: float,
  utilisation: float,
  hosts: int,
  chips: int | None,
) -> Forecast:
  """Times from operations.

  Args:
    amount: how much there is to do.
    operations: of one device.
    peak: operations a second of a device in training.
    exact_peak: and in the evaluation, which computes in float32.
    utilisation: the part of it that is reached, above 0 and at most 1.
    hosts: processes that read images.
    chips: how many are rented, or None.
  """

  def seconds(flops: float, peak: float = peak) -> float:
    return flops / (peak * utilisation)

  plain_steps = amount.steps - amount.running_steps
  training = plain_steps * operations.step + amount.running_steps * (
    operations.running_step
  )
  # A validation attacks a batch as training does, and classifies it twice.
  batch = amount.attack_steps * operations.attack_step + 2 * operations.reading
  validation = amount.validations * amount.validation_batches * batch
  one_branch = amount.evaluation_steps * operations.attack_step
  one_branch += amount.readings * operations.reading
  evaluation = amount.evaluation_batches * amount.branches * one_branch
  adaptive = amount.branches * (
    amount.adaptive_gradients * operations.attack_step
    + amount.adaptive_passes * operations.reading
  )
  step_seconds = seconds(operations.step)
  images = amount.batch_size / step_seconds
  total = seconds(training + validation) + seconds(evaluation, exact_peak)
  return Forecast(
    utilisation=utilisation,
    step_seconds=step_seconds,
    images_per_second=images,
    host_images_per_second=images / hosts,
    training_days=seconds(training) / DAY,
    validation_days=seconds(validation) / DAY,
    evaluation_days=seconds(evaluation, exact_peak) / DAY,
    adaptive_days=seconds(adaptive, exact_peak) / DAY,
    chip_hours=chips * total / HOUR if chips else None,
  )


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
    utilisation: the assumed part of the peak.

  Returns:
    The forecast; None without a published peak, or if a program does not fit.
  """
  operations = _operations(works)
  peak, exact_peak = target.peak, target.exact_peak
  if operations is None or peak is None or exact_peak is None:
    return None
  return forecast(
    amount(config),
    operations,
    peak=exact_peak if config.model.dtype == "float32" else peak,
    exact_peak=exact_peak,
    utilisation=utilisation,
    hosts=target.hosts,
    chips=target.chips,
  )


def _operations(
  works: Mapping[str, Work | None],
) -> Operations | None:
  """Operations by what they are for; None if a program that is needed does not fit."""
  step, attack, reading = (
    works.get(name) for name in (programs.TRAIN, programs.ADVANCE, programs.READ)
  )
  running = works.get(programs.RUNNING, step)
  if step is None or running is None or attack is None or reading is None:
    return None
  loop = attack.longest_loop
  return Operations(
    step=step.total_flops,
    running_step=running.total_flops,
    attack_step=loop.body.total_flops if loop else 0.0,
    reading=reading.total_flops,
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
