"""The paper's schedule in steps."""

from experiments import mbn_alp
from robustjax.run import schedule as schedules


def test_the_papers_schedule():
  schedule = schedules.schedule(mbn_alp.get_config("star"))
  assert schedule.steps_per_epoch == 313  # round(1281167 / 4096)
  assert schedule.steps == 110 * 313
  assert schedule.statistics(100 * 313 - 1) == "batch"
  assert schedule.statistics(100 * 313) == "running"
