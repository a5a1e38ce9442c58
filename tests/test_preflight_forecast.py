"""From counted operations to days and chip-hours."""

import dataclasses

import pytest

from robustjax.preflight import text
from robustjax.preflight.forecast import Amount, Operations, forecast

AMOUNT = Amount(
  batch_size=4096, steps=1000, running_steps=0, validations=10, validation_batches=2,
  attack_steps=30, evaluation_batches=25, branches=2, evaluation_steps=2010, readings=6,
)  # fmt: skip
OPERATIONS = Operations(step=1e12, running_step=5e11, attack_step=1e10, reading=5e9)
HARDWARE = {
  "peak": 1e12, "exact_peak": 2e11, "utilisation": 0.5, "hosts": 8, "chips": 64
}  # fmt: skip


def test_each_part_is_its_operations_over_what_a_device_does_in_a_second():
  made = forecast(AMOUNT, OPERATIONS, **HARDWARE)
  day = 86400
  assert made.step_seconds == 2
  assert made.images_per_second == 2048 and made.host_images_per_second == 256
  assert made.training_days * day == pytest.approx(2 * 1000)
  batch = 30 * 1e10 + 2 * 5e9
  assert made.validation_days * day == pytest.approx(10 * 2 * batch / 5e11)
  branch = 2010 * 1e10 + 6 * 5e9
  assert made.evaluation_days * day == pytest.approx(25 * 2 * branch / 1e11)
  parts = made.training_days + made.validation_days + made.evaluation_days
  assert made.days == parts and made.chip_hours == pytest.approx(64 * 24 * parts)


def test_steps_with_running_statistics_have_operations_of_their_own():
  phased = dataclasses.replace(AMOUNT, running_steps=400)
  made = forecast(phased, OPERATIONS, **HARDWARE)
  assert made.training_days * 86400 == pytest.approx(2 * 600 + 1 * 400)


def test_half_the_utilisation_takes_twice_as_long():
  slow = forecast(AMOUNT, OPERATIONS, **{**HARDWARE, "utilisation": 0.25})
  fast = forecast(AMOUNT, OPERATIONS, **HARDWARE)
  assert slow.days == pytest.approx(2 * fast.days)
  assert slow.images_per_second == pytest.approx(fast.images_per_second / 2)
  assert slow.utilisation == 0.25


def test_what_is_not_rented_by_the_chip_has_no_chip_hours():
  assert forecast(AMOUNT, OPERATIONS, **{**HARDWARE, "chips": None}).chip_hours is None


@pytest.mark.parametrize(
  ("days", "told"),
  [(4.24, "4.2 days"), (0.5, "12.0 h"), (0.01, "14.4 min"), (1e-5, "0.864 s")],
)
def test_durations_in_their_own_units(days, told):
  assert text.duration(days) == told
