"""Wilson's intervals hold their rate, Newcombe's their difference."""

import itertools
import random

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


@pytest.mark.parametrize(
  "counts, low, high",
  [((36, 12, 2, 0), 0.0569, 0.3404), ((36, 14, 0, 0), 0.1528, 0.4167)],
)
def test_newcombes_examples_of_the_same_images(counts, low, high):
  # Newcombe 1998, on paired data, method 10.
  found = intervals.newcombe_paired(*counts)
  assert found == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("counts", [*itertools.product((0, 1, 20), repeat=4)][1:])
def test_the_interval_of_the_same_images(counts):
  both, one, other, neither = counts
  images = sum(counts)
  low, high = intervals.newcombe_paired(*counts)
  difference = (one - other) / images
  assert -1 <= low <= difference <= high <= 1 and low < high
  swapped = intervals.newcombe_paired(both, other, one, neither)
  assert swapped == pytest.approx((-high, -low))
  alone = Count(both + one, images, 1), Count(both + other, images, 1)
  apart = intervals.newcombe(*alone)
  if both * neither > one * other:  # they go together
    assert high - low <= apart[1] - apart[0] + 1e-12
  elif both * neither < one * other:
    assert high - low >= apart[1] - apart[0] - 1e-12


def test_the_interval_of_the_same_images_holds_what_it_should():
  draw, hit = random.Random(0), 0
  for _ in range(1000):
    kinds = draw.choices(range(4), (0.55, 0.1, 0.05, 0.3), k=200)
    low, high = intervals.newcombe_paired(*(kinds.count(kind) for kind in range(4)))
    hit += low <= 0.05 <= high
  assert 0.93 < hit / 1000 < 0.975
