"""Targeted FAB in L-infinity: the nearest point of another class (Croce & Hein 2020).

Each step takes the boundary between the true class and the target for a plane, projects
onto it the iterate and the image itself, and goes a little beyond a point between the
two. What is misclassified is kept if it is nearer than what was found before, and the
search goes on from a point nearer to the image. It does not know eps: the result counts
where it is within.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from robustjax.attacks import losses
from robustjax.attacks.pgd import LogitsFn

_TINY = 1e-12
_SHORTEST = 1e-8 * 255  # of the official code, in pixels


class Nearest(NamedTuple):
  """What the attack found.

  Attributes:
    adv: [n, h, w, c], the nearest misclassified image; the image itself if none.
    distance: [n], its largest change of a pixel, of 255; infinite if none.
  """

  adv: jax.Array
  distance: jax.Array


@dataclasses.dataclass(frozen=True)
class FAB:
  """Targeted FAB with the constants of the official code.

  Attributes:
    steps: how many.
    alpha_max: the largest share of the image's own projection in a step.
    eta: how far beyond the planes a step goes: 1 is onto them.
    beta: the part of the way back to the image after a success that is kept.
  """

  steps: int = 100
  alpha_max: float = 0.1
  eta: float = 1.05
  beta: float = 0.9

  def __call__(
    self, logits_fn: LogitsFn, images: jax.Array, labels: jax.Array, targets: jax.Array
  ) -> Nearest:
    """Attacks images that are classified rightly, from the images themselves.

    Args:
      logits_fn: images [n, h, w, c] in 0..255 to logits [n, k], each image by itself.
      images: [n, h, w, c], pixels in 0..255.
      labels: [n], the true classes.
      targets: [n], other classes, such as the second of the clean logits.
    """
    images = images.astype(jnp.float32)
    x0 = images.reshape(len(images), -1)

    def difference(x: jax.Array) -> tuple[jax.Array, jax.Array]:
      """The target's minus the true class's logit."""
      logits = logits_fn(x.reshape(images.shape)).astype(jnp.float32)
      apart = losses.at(logits, targets) - losses.at(logits, labels)
      return apart.sum(), apart

    def step(_: int, state: tuple[jax.Array, Nearest]) -> tuple[jax.Array, Nearest]:
      x, nearest = state
      normal, apart = jax.grad(difference, has_aux=True)(x)
      level = (normal * x).sum(-1) - apart
      by_x = _to_plane(x, normal, level)
      by_image = _to_plane(x0, normal, level)
      ways = (jnp.maximum(jnp.abs(by).max(-1), _SHORTEST) for by in (by_x, by_image))
      own, images_own = ways
      alpha = jnp.minimum(own / (own + images_own), self.alpha_max)[:, None]
      x = (x + self.eta * by_x) * (1 - alpha) + (x0 + self.eta * by_image) * alpha
      x = jnp.clip(x, 0.0, 255.0)
      wrong = logits_fn(x.reshape(images.shape)).argmax(-1) != labels
      distance = jnp.abs(x - x0).max(-1)
      nearer = wrong & (distance < nearest.distance)
      nearest = Nearest(
        jnp.where(nearer[:, None], x, nearest.adv),
        jnp.where(nearer, distance, nearest.distance),
      )
      back = x0 + (x - x0) * self.beta
      return jnp.where(wrong[:, None], back, x), nearest

    none = Nearest(x0, jnp.full(len(images), jnp.inf))
    _, nearest = jax.lax.fori_loop(0, self.steps, step, (x0, none))
    adv = nearest.adv.reshape(images.shape)
    return Nearest(jax.lax.stop_gradient(adv), nearest.distance)


def _to_plane(x: jax.Array, normal: jax.Array, level: jax.Array) -> jax.Array:
  """The shortest way, by its largest part, to normal . x = level within 0..255.

  All parts move alike towards the plane, each until it meets 0 or 255. Where the plane
  cannot be met, all go as far as they can.

  Args:
    x: [n, d].
    normal: [n, d].
    level: [n].

  Returns:
    [n, d], what to add to x.
  """
  apart = (normal * x).sum(-1) - level
  normal = normal * jnp.where(apart >= 0, 1.0, -1.0)[:, None]  # the plane is below
  slope = jnp.abs(normal)
  room = jnp.where(normal > 0, x, 255.0 - x) * (slope > 0)
  order = jnp.argsort(room, -1)
  rooms, slopes = (jnp.take_along_axis(a, order, -1) for a in (room, slope))
  # After the first i parts have stopped, the others sink on at this rate.
  gone = jnp.cumsum(slopes * rooms, -1)
  rest = slopes.sum(-1, keepdims=True) - jnp.cumsum(slopes, -1)
  reached = gone + rooms * rest  # how far the plane comes near by the i-th part's stop
  need = jnp.abs(apart)[:, None]
  first = jnp.minimum((reached < need).sum(-1, keepdims=True), x.shape[-1] - 1)
  before = lambda a: jnp.take_along_axis(a, first, -1)  # noqa: E731
  stopped = before(gone) - before(slopes) * before(rooms)
  rate = before(rest) + before(slopes)
  length = jnp.maximum((need - stopped) / jnp.maximum(rate, _TINY), 0.0)
  length = jnp.where(reached[:, -1:] < need, jnp.inf, length)
  return -jnp.sign(normal) * jnp.minimum(length, room)
