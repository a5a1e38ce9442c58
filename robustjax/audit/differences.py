"""Gradients against finite differences: whether they are those of the function.

Whatever makes gradients wrong, zero, noise, of another function, of a part of the
network alone, straight through a rounding, shows here, even where an attack along them
still breaks as much as Square does with its few queries.
"""

from typing import NamedTuple

import numpy as np

from robustjax.audit.programs import Array, Programs

DIRECTIONS = 8  # of an image
PARTS = 4  # a difference is over a quarter of eps to each side, and over a half,
FARTHEST = 1.0  # and over a pixel value and two at most: networks bend


class Differences(NamedTuple):
  """Sums over an image's directions of products of what the margin does along them.

  Attributes:
    measured: [n], of its slope over a short difference and over a longer one: they
      share no rounding, which so is no part of the sum's mean.
    both: [n], of its slope and what the gradient says.
    claimed: [n], of the square of what the gradient says.
  """

  measured: Array
  both: Array
  claimed: Array

  @property
  def unexplained(self) -> Array:
    """[n], the square of slope minus gradient: at least 0, but for rounding."""
    return self.measured - 2 * self.both + self.claimed

  @property
  def total(self) -> Array:
    """[n], what `unexplained` is if gradients have nothing to do with slopes."""
    return self.measured + self.claimed


def differences(programs: Programs, eps: float, seed: int) -> Differences:
  """Measures each image in random directions, near it.

  At a random point within half of eps, where an attack is on its way, and where no
  whole numbers, and no limits of 0..255, are met. Directions change every pixel, up or
  down: none that the gradient leaves out is missed. Each image's numbers are divided
  by their sum, so that all images count the same.

  Args:
    programs: of the network.
    eps: of 255.
    seed: of the points and the directions.
  """
  images, labels = programs.rows["image"].astype(np.float64), programs.rows["label"]
  rng, each = np.random.default_rng(seed), np.arange(len(labels))
  pixel = eps / images[0].size ** 0.5 if programs.norm == "l2" else eps
  step = min(pixel / PARTS, FARTHEST)
  near = images + pixel / 2 * rng.uniform(-1, 1, images.shape)
  near = np.clip(near, 2 * step, 255 - 2 * step)
  others = programs.logits(near)
  others[each, labels] = -np.inf
  other = others.argmax(-1)

  def margin(at: Array) -> Array:
    logits = _finite(programs.logits(at))
    return logits[each, other] - logits[each, labels]

  gradient = _finite(programs.gradient("margin", near))
  slopes = []
  for _ in range(DIRECTIONS):
    way = rng.choice((-1.0, 1.0), images.shape)
    short, long = (
      (margin(near + size * way) - margin(near - size * way)) / (2 * size)
      for size in (step, 2 * step)
    )
    slopes.append((short, long, (gradient * way).sum((1, 2, 3))))
  short, long, claimed = np.swapaxes(slopes, 0, 1)
  size = (short**2 + long**2 + claimed**2).sum(0) + np.finfo(np.float64).tiny
  products = (short * long, (short + long) / 2 * claimed, claimed**2)
  return Differences(*(product.sum(0) / size for product in products))


def _finite(values: Array) -> Array:
  """What is not a number says nothing."""
  return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
