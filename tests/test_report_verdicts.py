"""A verdict says what the counts say, and the paper's own numbers show its claims."""

import pytest

from robustjax.paper import tables as paper
from robustjax.paper.claims import CLAIMS
from robustjax.report import verdicts
from robustjax.report.intervals import Count

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
    return verdicts.judge(lambda *side: answers[side], [claim])[0]

  return [judge(claim) for claim in CLAIMS]


ORDERED = [claim.near is None for claim in CLAIMS]


def words(better, worse, ordered):
  judged = constant(better, worse)
  return {v.verdict for v, o in zip(judged, ORDERED, strict=True) if o == ordered}


def test_the_papers_own_numbers_show_every_claim():
  judged = verdicts.judge(published)
  assert [verdict.claim for verdict in judged] == list(CLAIMS)
  for verdict in judged:
    if verdict.claim.published is None:
      assert verdict.verdict == verdicts.NOT_MEASURED, verdict.claim.key
    else:
      assert verdict.verdict == verdicts.APPEARS, verdict.claim.key
      assert verdict.difference == pytest.approx(verdict.claim.published, abs=0.01)


def test_without_counts_nothing_is_said():
  for verdict in verdicts.judge(lambda *_: None):
    assert verdict.verdict == verdicts.NOT_MEASURED
    assert verdict.difference is verdict.low is verdict.high is None
    assert verdict.better is verdict.worse is None


@pytest.mark.parametrize("missing", ["better", "worse"])
def test_one_side_is_not_enough(missing):
  for claim in CLAIMS:
    side = getattr(claim, missing)
    found = verdicts._judge(
      claim, lambda *asked, side=side: None if asked == side else Count(5, 10, 1)
    )
    assert found.verdict == verdicts.NOT_MEASURED and found.difference is None
    assert getattr(found, missing) is None


def test_an_order():
  low, high = Count(300, 1000, 1), Count(500, 1000, 1)
  assert words(high, low, True) == {verdicts.APPEARS}
  assert words(low, high, True) == {verdicts.REVERSED}
  assert words(low, low, True) == {verdicts.NOT_SEEN}
  assert words(Count(310, 1000, 1), low, True) == {verdicts.NOT_SEEN}


def test_nearness():
  half = Count(IMAGES // 2, IMAGES, 1)
  assert words(half, half, False) == {verdicts.APPEARS}
  other = Count(IMAGES // 2 + IMAGES // 200, IMAGES, 1)  # half a point
  assert words(half, other, False) == words(other, half, False) == {verdicts.APPEARS}
  far = Count(IMAGES // 2 + IMAGES // 5, IMAGES, 1)  # 20 points
  assert words(half, far, False) == words(far, half, False) == {verdicts.DIFFERS}
  few = Count(50, 100, 1)  # too few images to say
  assert words(few, few, False) == {verdicts.NOT_SEEN}


def test_the_difference_is_in_points_with_its_counts():
  better, worse = Count(420, 1000, 1), Count(300, 1000, 1)
  for verdict in constant(better, worse):
    assert verdict.difference == pytest.approx(12)
    assert verdict.low < 12 < verdict.high
    assert (verdict.better, verdict.worse) == (better, worse)
