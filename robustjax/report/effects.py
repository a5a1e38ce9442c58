"""A plain verdict on each claim of the paper, from measured counts."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from robustjax.paper.claims import CLAIMS, Claim
from robustjax.report.figures import wilson

APPEARS, NOT_SEEN = "appears", "not seen"
REVERSED, NOT_MEASURED = "reversed", "not measured"
DIFFERS = "differs"  # two accuracies that are claimed to be nearly the same


class Count(NamedTuple):
  """Images that were classified correctly.

  Attributes:
    correct: over all runs.
    images: over all runs: each run counts each image.
    runs: that differ in their seeds alone, on the same images.
  """

  correct: int
  images: int
  runs: int


Measure = Callable[[str, str, int | None], Count | None]


@dataclass(frozen=True)
class Verdict:
  """What was measured about a claim.

  Attributes:
    claim: that was judged.
    difference: better minus worse, in points of accuracy; None if not measured.
    low: of the difference's 95 % interval, in points; None if not measured.
    high: of the same.
    verdict: "appears", "not seen", "reversed", "differs" or "not measured".
    better: counts behind it, None if not measured.
    worse: the same.
  """

  claim: Claim
  difference: float | None
  low: float | None
  high: float | None
  verdict: str
  better: Count | None
  worse: Count | None


def judge(measure: Measure) -> list[Verdict]:
  """A verdict on every claim.

  A difference "appears" if its whole 95 % interval lies above 0, is "reversed" if it
  lies below, and is "not seen" if the interval holds 0. Where two accuracies are
  claimed to be nearly the same, that "appears" if the whole interval lies within the
  claim's `near` points on either side of 0, "differs" if it lies outside, and is "not
  seen" otherwise: too few images, or a difference that is close to `near`.

  The interval covers the choice of test images. It does not cover the choice of the
  seed: another training may differ by more.

  Args:
    measure: (setting, branch, reading) -> counts, or None if nobody measured it.

  Returns:
    The verdicts in the order of `CLAIMS`.
  """
  return [_judge(claim, measure) for claim in CLAIMS]


def _judge(claim: Claim, measure: Measure) -> Verdict:
  better, worse = measure(*claim.better), measure(*claim.worse)
  if better is None or worse is None:
    return Verdict(claim, None, None, None, NOT_MEASURED, better, worse)
  difference = better.correct / better.images - worse.correct / worse.images
  low, high = interval(better, worse)
  points = 100 * difference, 100 * low, 100 * high
  return Verdict(
    claim, *points, _word(100 * low, 100 * high, claim.near), better, worse
  )


def _word(low: float, high: float, near: float | None) -> str:
  if near is None:
    return APPEARS if low > 0 else REVERSED if high < 0 else NOT_SEEN
  if -near <= low and high <= near:
    return APPEARS
  return DIFFERS if high < -near or near < low else NOT_SEEN


def interval(better: Count, worse: Count) -> tuple[float, float]:
  """Newcombe's hybrid score interval of a difference of two proportions, at 95 %.

  Method 10 of Newcombe, "Interval estimation for the difference between independent
  proportions", Statistics in Medicine 17 (1998), from the Wilson interval of each. It
  takes the two as independent, which is cautious: the same images serve both, and what
  is hard for one network is mostly hard for the other. More runs on the same images
  make the proportions steadier but the images no more: the interval is as wide as that
  of one run.

  Args:
    better: counts, with at least 1 image.
    worse: the same.

  Returns:
    (low, high) of better minus worse, within -1..1.
  """
  p, q = better.correct / better.images, worse.correct / worse.images
  p_low, p_high = _score_interval(better)
  q_low, q_high = _score_interval(worse)
  low = p - q - math.hypot(p - p_low, q_high - q)
  high = p - q + math.hypot(p_high - p, q - q_low)
  return low, high


def _score_interval(count: Count) -> tuple[float, float]:
  # In Wilson's formula z squared is over the images: z is larger by the root of the
  # number of runs, which is the same as the images of one run.
  return wilson(count.correct, count.images, 1.96 * math.sqrt(count.runs))
