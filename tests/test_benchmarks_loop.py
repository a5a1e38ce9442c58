"""What the loop is timed by: its requests for images, once it has settled."""

import pytest
from conftest import REPO

from benchmarks import loop
from experiments import mbn_alp
from robustjax import config as configs


@pytest.fixture
def clock(monkeypatch):
  """A clock that only moves when it is told to."""
  now = [0.0]
  monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])

  def forward(seconds):
    now[0] += seconds

  return forward


def test_the_first_requests_do_not_count_and_waits_are_of_the_rest(clock):
  def images():
    for index in range(10):
      clock(100.0 if index < loop.BEFORE else 0.25)
      yield index

  watched = loop.Watched(images())
  for _ in watched:
    clock(0.75)  # the step
    if len(watched.asked) == 9:
      break
  assert watched.step() == pytest.approx(1.0)
  assert watched.wait() == pytest.approx(0.25)


@pytest.mark.slow
@pytest.mark.thorough
def test_it_times_the_demos_own_loop(monkeypatch):
  monkeypatch.chdir(REPO)
  monkeypatch.setattr(loop, "STEPS", 8)
  config = mbn_alp.get_config("mini")
  small = {"model.stages": (1,), "model.width": 4, "model.group": 8, "attack.steps": 1}
  for name, value in small.items():
    configs.change(config, name, value, "test")
  demo = loop.Demo(config)
  assert demo.loop() > demo.waits() >= 0
  assert demo.step() > 0
  assert demo.images() > 0
