"""How long a run would take: arithmetic on counted operations and published peaks.

Nothing here is measured. A device is assumed to reach one and the same part of its peak
in every program: the utilisation.
"""

import dataclasses

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
    evaluation_days: of the evaluation after training.
    chip_hours: of all of it, or None where devices are no part of chips.
  """

  utilisation: float
  step_seconds: float
  images_per_second: float
  host_images_per_second: float
  training_days: float
  validation_days: float
  evaluation_days: float
  chip_hours: float | None

  @property
  def days(self) -> float:
    """Training, validations and evaluation."""
    return self.training_days + self.validation_days + self.evaluation_days


def forecast(
  amount: Amount,
  operations: Operations,
  *,
  peak: float,
  utilisation: float,
  hosts: int,
  chips: int | None,
) -> Forecast:
  """Times from operations.

  Args:
    amount: how much there is to do.
    operations: of one device.
    peak: operations a second of a device.
    utilisation: the part of it that is reached, above 0 and at most 1.
    hosts: processes that read images.
    chips: how many are rented, or None.
  """

  def seconds(flops: float) -> float:
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
  step_seconds = seconds(operations.step)
  images = amount.batch_size / step_seconds
  total = seconds(training + validation + evaluation)
  return Forecast(
    utilisation=utilisation,
    step_seconds=step_seconds,
    images_per_second=images,
    host_images_per_second=images / hosts,
    training_days=seconds(training) / DAY,
    validation_days=seconds(validation) / DAY,
    evaluation_days=seconds(evaluation) / DAY,
    chip_hours=chips * total / HOUR if chips else None,
  )
