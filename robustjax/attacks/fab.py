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
    steps: [n] int32, how many steps found it; 0 if none.
  """

  adv: jax.Array
  distance: jax.Array
  steps: jax.Array


_State = tuple[jax.Array, jax.Array, Nearest]  # the step, the iterate and the nearest


@dataclasses.dataclass(frozen=True)
class FAB:
  """Targeted FAB with the constants of the official code.

  Attributes:
    steps: how many.
    alpha_max: the largest share of the image's own projection in a step.
    eta: how far beyond the planes a step goes: 1 is onto them.
    beta: the part of the way back to the image after a success that is kept.
    within: a distance, of 255: an image that is misclassified at no more stays as it
      is, and the search ends when all are; None searches on.
  """

  steps: int = 100
  alpha_max: float = 0.1
  eta: float = 1.05
  beta: float = 0.9
  within: float | None = None

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

    near = -1.0 if self.within is None else self.within

    def step(state: _State) -> _State:
      i, x, nearest = state
      normal, apart = jax.grad(difference, has_aux=True)(x)
      level = (normal * x).sum(-1) - apart
      # At once, since a loop costs as much for one as for both.
      two = (jnp.concatenate(pair) for pair in ((x, x0), (normal,) * 2, (level,) * 2))
      by_x, by_image = jnp.split(_to_plane(*two), 2)
      ways = (jnp.maximum(jnp.abs(by).max(-1), _SHORTEST) for by in (by_x, by_image))
      own, images_own = ways
      alpha = jnp.minimum(own / (own + images_own), self.alpha_max)[:, None]
      x = (x + self.eta * by_x) * (1 - alpha) + (x0 + self.eta * by_image) * alpha
      x = jnp.clip(x, 0.0, 255.0)
      wrong = logits_fn(x.reshape(images.shape)).argmax(-1) != labels
      distance = jnp.abs(x - x0).max(-1)
      nearer = wrong & (distance < nearest.distance) & (nearest.distance > near)
      nearest = Nearest(
        jnp.where(nearer[:, None], x, nearest.adv),
        jnp.where(nearer, distance, nearest.distance),
        jnp.where(nearer, i + 1, nearest.steps),
      )
      back = x0 + (x - x0) * self.beta
      return i + 1, jnp.where(wrong[:, None], back, x), nearest

    def unfinished(state: _State) -> jax.Array:
      i, _, nearest = state
      return (i < self.steps) & (nearest.distance > near).any()

    none = Nearest(
      x0, jnp.full(len(images), jnp.inf), jnp.zeros(len(images), jnp.int32)
    )
    _, _, nearest = jax.lax.while_loop(unfinished, step, (jnp.array(0), x0, none))
    adv = nearest.adv.reshape(images.shape)
    return nearest._replace(adv=jax.lax.stop_gradient(adv))


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
  slope, need = jnp.abs(normal), jnp.abs(apart)
  room = jnp.where(normal > 0, x, 255.0 - x) * (slope > 0)

  # How near the plane comes by a length is concave: Newton's steps from 0 never go too
  # far, and end on the right piece. What has arrived stays, whatever others still do.
  def longer(length: jax.Array) -> jax.Array:
    moving = slope * (room > length[:, None])
    stopped = (jnp.where(moving > 0, 0.0, slope) * room).sum(-1)
    rate = moving.sum(-1)
    reached = jnp.where(rate > 0, (need - stopped) / jnp.maximum(rate, _TINY), jnp.inf)
    return jnp.maximum(length, jnp.where(stopped < need, reached, length))

  def unfinished(lengths: tuple[jax.Array, jax.Array]) -> jax.Array:
    before, length = lengths
    return (length > before).any()

  start = jnp.zeros_like(need)
  _, length = jax.lax.while_loop(
    unfinished, lambda lengths: (lengths[1], longer(lengths[1])), (start, longer(start))
  )
  return -jnp.sign(normal) * jnp.minimum(length[:, None], room)
