"""Wilson's intervals hold their rate, Newcombe's their difference."""

import itertools

import pytest

from robustjax.report import intervals
from robustjax.report.intervals import Count

LARGE = (10**4, 10**8, 10**12)
EDGES = [Count(n, 40, 1) for n in (0, 1, 20, 39, 40)]


def test_wilson_intervals_hold_their_rate():
  counts = [(k, n) for n in range(1, 60) for k in range(n + 1)]
  counts += [(k, 10**12) for k in (0, 1, 10**11, 10**12 - 1, 10**12)]
  for correct, images in counts:
    low, high = intervals.wilson(correct, images)
    assert 0 <= low <= correct / images <= high <= 1
  assert high - low < 1e-11


def test_wilson_intervals_narrow_with_the_root_of_the_images():
  widths = [high - low for low, high in (intervals.wilson(n // 2, n) for n in LARGE)]
  for few, many, n in zip(widths, widths[1:], LARGE, strict=False):
    assert few / many == pytest.approx(100, rel=10 / n)
  assert widths[-1] == pytest.approx(1.96e-6, rel=1e-6)


@pytest.mark.parametrize(
  "correct, images, low, high",
  [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)],
)
def test_wilson_intervals(correct, images, low, high):
  assert intervals.wilson(correct, images) == pytest.approx((low, high), abs=1e-3)


@pytest.mark.parametrize(
  "better, worse, low, high",
  [
    # Newcombe 1998, Table II, method 10.
    (Count(56, 70, 1), Count(48, 80, 1), 0.0524, 0.3339),
    (Count(9, 10, 1), Count(3, 10, 1), 0.1705, 0.8090),
    (Count(10, 10, 1), Count(0, 10, 1), 0.6075, 1.0),
  ],
)
def test_newcombes_examples(better, worse, low, high):
  assert intervals.newcombe(better, worse) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("better, worse", [*itertools.product(EDGES, EDGES)])
def test_the_interval(better, worse):
  low, high = intervals.newcombe(better, worse)
  difference = (better.correct - worse.correct) / 40
  assert -1 <= low <= difference <= high <= 1 and low < high
  assert intervals.newcombe(worse, better) == pytest.approx((-high, -low))
  more = [Count(9 * c.correct, 9 * c.images, 1) for c in (better, worse)]
  narrow = intervals.newcombe(*more)
  assert narrow[1] - narrow[0] < high - low


def test_more_runs_are_not_more_images():
  """Three runs read the same images: as wide as one run with their mean."""
  one = intervals.newcombe(Count(60, 100, 1), Count(40, 100, 1))
  three = intervals.newcombe(Count(180, 300, 3), Count(120, 300, 3))
  assert three == pytest.approx(one)
