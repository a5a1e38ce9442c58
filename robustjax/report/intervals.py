"""95 % intervals of counted accuracies, and of the difference of two."""

import math
from typing import NamedTuple


class Count(NamedTuple):
  """Images that were classified correctly.

  Attributes:
    correct: over all runs.
    images: over all runs: each run counts each image.
    runs: that differ in their seeds alone, on the same images.
  """

  correct: int
  images: int
  runs: int = 1

  @property
  def rate(self) -> float:
    """The accuracy, 0..1."""
    return self.correct / self.images

  @property
  def interval(self) -> tuple[float, float]:
    """Wilson's, within 0..1.

    Runs share their test images: however many there are, the interval is as wide as
    that of one. In Wilson's formula z squared is over the images.
    """
    return wilson(self.correct, self.images, 1.96 * math.sqrt(self.runs))


def wilson(correct: float, images: float, z: float = 1.96) -> tuple[float, float]:
  """The Wilson score interval of a binomial rate.

  Args:
    correct: successes.
    images: trials, at least 1.
    z: 1.96 for 95 %.

  Returns:
    (low, high), within 0..1 and around the rate.
  """
  rate, square = correct / images, z * z / images
  centre = (rate + square / 2) / (1 + square)
  half = z * (rate * (1 - rate) / images + square / images / 4) ** 0.5 / (1 + square)
  # Rounding must not leave a rate of 0 or 1 outside its interval.
  return max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))


def newcombe(better: Count, worse: Count) -> tuple[float, float]:
  """Newcombe's hybrid score interval of a difference of two proportions.

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
  p, q = better.rate, worse.rate
  (p_low, p_high), (q_low, q_high) = better.interval, worse.interval
  low = p - q - math.hypot(p - p_low, q_high - q)
  high = p - q + math.hypot(p_high - p, q - q_low)
  return low, high


def newcombe_paired(
  both: int, one: int, other: int, neither: int
) -> tuple[float, float]:
  """Newcombe's interval of a difference of two proportions of the same images.

  Method 10 of Newcombe, "Improved confidence intervals for the difference between
  binomial proportions based on paired data", Statistics in Medicine 17 (1998): that of
  `newcombe`, narrower by the correlation of the two.

  Args:
    both: images that are right twice; of all four, at least 1 in all.
    one: right in the first alone.
    other: right in the second alone.
    neither: wrong twice.

  Returns:
    (low, high) of the first minus the second, within -1..1.
  """
  images = both + one + other + neither
  p, q = (both + one) / images, (both + other) / images
  (p_low, p_high), (q_low, q_high) = (
    wilson(both + one, images),
    wilson(both + other, images),
  )
  rest = (both + one) * (other + neither) * (both + other) * (one + neither)
  excess = float(both * neither - one * other)
  if excess > 0:  # corrected for continuity
    excess = max(0.0, excess - images / 2)
  phi = excess / math.sqrt(rest) if rest else 0.0
  return (
    p - q - _together(p - p_low, q_high - q, phi),
    p - q + _together(p_high - p, q - q_low, phi),
  )


def _together(one: float, other: float, phi: float) -> float:
  return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))
