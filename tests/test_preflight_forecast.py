"""From counted work to days and chip-hours."""

import dataclasses

import pytest

from robustjax import config as configs
from robustjax.preflight import chips, programs, published, text, topology
from robustjax.preflight.forecast import (
  Amount,
  Roof,
  Times,
  forecast,
  forecast_of,
  roof,
)
from robustjax.preflight.work import Loop, Work

AMOUNT = Amount(
  batch_size=4096, steps=1000, running_steps=0, validations=10, validation_batches=2,
  attack_steps=30, evaluation_batches=25, branches=2, evaluation_steps=2010, readings=6,
)  # fmt: skip
TIMES = Times(
  step=1.0, running_step=0.5, validation=0.3, attack_step=0.05, reading=0.02
)
RUN = {"utilisation": 0.5, "hosts": 8, "chips": 64}
DAY = 86400


def test_each_part_is_its_seconds_over_the_utilisation():
  made = forecast(AMOUNT, TIMES, **RUN)
  assert made.step_seconds == 2
  assert made.images_per_second == 2048 and made.host_images_per_second == 256
  assert made.training_days * DAY == pytest.approx(2 * 1000)
  assert made.validation_days * DAY == pytest.approx(10 * 2 * 0.3 / 0.5)
  branch = 2010 * 0.05 + 6 * 0.02
  assert made.evaluation_days * DAY == pytest.approx(25 * 2 * branch / 0.5)
  parts = made.training_days + made.validation_days + made.evaluation_days
  assert made.days == parts and made.chip_hours == pytest.approx(64 * 24 * parts)


def test_steps_with_running_statistics_have_a_time_of_their_own():
  phased = dataclasses.replace(AMOUNT, running_steps=400)
  made = forecast(phased, TIMES, **RUN)
  assert made.training_days * DAY == pytest.approx(2 * 600 + 1 * 400)


def test_half_the_utilisation_takes_twice_as_long():
  slow = forecast(AMOUNT, TIMES, **RUN | {"utilisation": 0.25})
  fast = forecast(AMOUNT, TIMES, **RUN)
  assert slow.days == pytest.approx(2 * fast.days)
  assert slow.images_per_second == pytest.approx(fast.images_per_second / 2)
  assert slow.utilisation == 0.25


def target(**values):
  here = topology.cpu()
  known = {"chips": 8, "peak": 1e12, "exact_peak": 2e11, "bandwidth": 1e9}
  return dataclasses.replace(here, **known | values)


@pytest.mark.parametrize(
  ("flops", "bytes_", "limit"),
  [(1e12, 5e8, "operations"), (1e11, 1e9, "memory"), (1e12, 1e9, "operations")],
)
def test_the_roof_is_the_larger_of_operations_and_bytes(flops, bytes_, limit):
  found = roof(programs.TRAIN, Work(flops, bytes_), configs.base("x"), target())
  assert found == Roof(flops / 1e12, bytes_ / 1e9)
  assert found.seconds == pytest.approx(1.0) and found.limit == limit


def test_the_roof_counts_loops_and_of_the_evaluations_attack_one_step():
  body = Work(1e10, int(1e7))
  work = Work(5e9, int(5e8), loops=(Loop(30, body),))
  config = configs.base("x")
  assert roof(programs.TRAIN, work, config, target()).memory == pytest.approx(0.8)
  one = roof(programs.ADVANCE, work, config, target())
  assert one == Roof(1e10 / 2e11, 0.01)  # and in float32, whatever training is in
  config.model.dtype = "float32"
  exact = roof(programs.TRAIN, work, config, target())
  assert exact.operations == pytest.approx(5 * 0.305)


def test_a_run_is_forecast_program_by_program():
  config = configs.base("x")
  works = {
    programs.TRAIN: Work(1e12, int(2e9)),
    programs.ADVANCE: Work(loops=(Loop(None, Work(2e10, 0)),)),
    programs.READ: Work(1e9, int(3e7)),
  }
  made = forecast_of(config, target(), works, 0.5)
  assert made.step_seconds == pytest.approx(2 / 0.5)  # of memory
  validated = forecast_of(
    config, target(), works | {programs.VALIDATION: Work(7e12)}, 0.5
  )
  steps = config.attack.steps * 0.1 + 2 * 0.03
  ratio = validated.validation_days / made.validation_days
  assert ratio == pytest.approx(7 / steps)
  assert forecast_of(config, target(bandwidth=None), works, 0.5) is None
  assert forecast_of(config, target(), works | {programs.READ: None}, 0.5) is None


def test_what_others_measured_is_below_the_roof_and_near_the_default():
  shares = [one.share for one in published.MEASURED.values()]
  assert all(0.3 < share < 1 for share in shares)
  assert min(shares) <= published.USUAL <= max(shares)
  assert all(f"{share:.0%}" in published.line() for share in shares)


def test_every_chip_has_a_bandwidth_of_its_memory():
  # Operations that a chip does for a byte: hundreds, on every one that is published.
  ratios = [chip.peak / chip.bandwidth for chip in chips.CHIPS.values()]
  ratios += [peak / bandwidth for peak, _, bandwidth in chips.GPUS.values()]
  assert all(100 < ratio < 1000 for ratio in ratios)


def test_what_is_not_rented_by_the_chip_has_no_chip_hours():
  assert forecast(AMOUNT, TIMES, **RUN | {"chips": None}).chip_hours is None


@pytest.mark.parametrize(
  ("days", "told"),
  [(4.24, "4.2 days"), (0.5, "12.0 h"), (0.01, "14.4 min"), (1e-5, "0.864 s")],
)
def test_durations_in_their_own_units(days, told):
  assert text.duration(days) == told
