"""A verdict says what the counts say, and the paper's own numbers show its claims."""

import itertools

import pytest

from robustjax.paper import tables as paper
from robustjax.paper.claims import CLAIMS
from robustjax.report import effects
from robustjax.report.effects import Count

IMAGES = 50_000


def published(setting, branch, reading):
  """What the paper measured, as counts of ImageNet's validation images."""
  cells = paper.find(setting, branch)
  if reading is None:
    reading = max(cells.keys() - {0}, default=None)
  if reading not in cells:
    return None
  return Count(round(cells[reading].value / 100 * IMAGES), IMAGES, 1)


def constant(better, worse):
  """Every claim's better side counts one thing, its worse side another."""

  def judge(claim):
    answers = {claim.better: better, claim.worse: worse}
    return effects._judge(claim, lambda *side: answers[side])

  return [judge(claim) for claim in CLAIMS]


ORDERED = [claim.near is None for claim in CLAIMS]


def words(better, worse, ordered):
  verdicts = constant(better, worse)
  return {v.verdict for v, o in zip(verdicts, ORDERED, strict=True) if o == ordered}


def test_the_papers_own_numbers_show_every_claim():
  verdicts = effects.judge(published)
  assert [verdict.claim for verdict in verdicts] == list(CLAIMS)
  for verdict in verdicts:
    if verdict.claim.published is None:
      assert verdict.verdict == effects.NOT_MEASURED, verdict.claim.key
    else:
      assert verdict.verdict == effects.APPEARS, verdict.claim.key
      assert verdict.difference == pytest.approx(verdict.claim.published, abs=0.01)


def test_without_counts_nothing_is_said():
  for verdict in effects.judge(lambda *_: None):
    assert verdict.verdict == effects.NOT_MEASURED
    assert verdict.difference is verdict.low is verdict.high is None
    assert verdict.better is verdict.worse is None


@pytest.mark.parametrize("missing", ["better", "worse"])
def test_one_side_is_not_enough(missing):
  for claim in CLAIMS:
    side = getattr(claim, missing)
    found = effects._judge(
      claim, lambda *asked, side=side: None if asked == side else Count(5, 10, 1)
    )
    assert found.verdict == effects.NOT_MEASURED and found.difference is None
    assert getattr(found, missing) is None


def test_an_order():
  low, high = Count(300, 1000, 1), Count(500, 1000, 1)
  assert words(high, low, True) == {effects.APPEARS}
  assert words(low, high, True) == {effects.REVERSED}
  assert words(low, low, True) == {effects.NOT_SEEN}
  assert words(Count(310, 1000, 1), low, True) == {effects.NOT_SEEN}


def test_nearness():
  half = Count(IMAGES // 2, IMAGES, 1)
  assert words(half, half, False) == {effects.APPEARS}
  other = Count(IMAGES // 2 + IMAGES // 200, IMAGES, 1)  # half a point
  assert words(half, other, False) == words(other, half, False) == {effects.APPEARS}
  far = Count(IMAGES // 2 + IMAGES // 5, IMAGES, 1)  # 20 points
  assert words(half, far, False) == words(far, half, False) == {effects.DIFFERS}
  few = Count(50, 100, 1)  # too few images to say
  assert words(few, few, False) == {effects.NOT_SEEN}


def test_the_difference_is_in_points_with_its_counts():
  better, worse = Count(420, 1000, 1), Count(300, 1000, 1)
  for verdict in constant(better, worse):
    assert verdict.difference == pytest.approx(12)
    assert verdict.low < 12 < verdict.high
    assert (verdict.better, verdict.worse) == (better, worse)


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
  assert effects.interval(better, worse) == pytest.approx((low, high), abs=1e-4)


EDGES = [Count(n, 40, 1) for n in (0, 1, 20, 39, 40)]


@pytest.mark.parametrize("better, worse", [*itertools.product(EDGES, EDGES)])
def test_the_interval(better, worse):
  low, high = effects.interval(better, worse)
  difference = (better.correct - worse.correct) / 40
  assert -1 <= low <= difference <= high <= 1 and low < high
  assert effects.interval(worse, better) == pytest.approx((-high, -low))
  more = [Count(9 * c.correct, 9 * c.images, 1) for c in (better, worse)]
  narrow = effects.interval(*more)
  assert narrow[1] - narrow[0] < high - low


def test_more_runs_are_not_more_images():
  """Three runs read the same images: as wide as one run with their mean."""
  one = effects.interval(Count(60, 100, 1), Count(40, 100, 1))
  three = effects.interval(Count(180, 300, 3), Count(120, 300, 3))
  assert three == pytest.approx(one)
