"""Plain PGD that takes everything down on its way: what an audit looks at.

Steps of one length by the ball's ascent. The loss is a number that may be traced, so
that one program makes FGSM, PGD of any loss, eps and number of steps, and PGD towards a
target.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from robustjax.attacks import losses
from robustjax.attacks.balls import Ball
from robustjax.attacks.pgd import LogitsFn

# What an attack may raise, by its number in `loss`.
LOSSES = ("ce", "margin", "dlr", "scaled", "target")

# How far the logits lie apart, at most, for the loss "scaled": a softmax loses nothing
# in float32, and the largest other logit still leads. Logits are never multiplied: an
# honest network of low confidence withstands its plain cross-entropy a little better.
SPREAD = 10.0

# Of the difference of logits ratio.
LEAST_CLASSES = 4


class Walk(NamedTuple):
  """What was met on the way, for each of n images.

  Attributes:
    adv: [n, h, w, c], the last misclassified iterate, or the last of all.
    last: [n, h, w, c], the last of all.
    first: [n] int32, the step of the first misclassified iterate, 0 for the start; one
      more than the number of steps if there was none.
    loss: [n, most + 1], the loss of each iterate, NaN after the last.
    flat: [n, most + 1] bool, whether all of the gradient was exactly zero.
  """

  adv: jax.Array
  last: jax.Array
  first: jax.Array
  loss: jax.Array
  flat: jax.Array


def loss(
  which: int | jax.Array, labels: jax.Array, targets: jax.Array
) -> Callable[[jax.Array], jax.Array]:
  """One of `LOSSES`, as a function of the logits [n, k] to [n].

  "scaled" is the cross-entropy of the logits, divided where the largest is more than
  `SPREAD` above the smallest so that it is that much. "dlr" of fewer than 4 classes is
  the margin.
  """

  def scaled(logits: jax.Array) -> jax.Array:
    apart = logits.max(-1, keepdims=True) - logits.min(-1, keepdims=True)
    factor = jnp.maximum(jax.lax.stop_gradient(apart) / SPREAD, 1.0)
    return losses.cross_entropy(logits / factor, labels)

  def value(logits: jax.Array) -> jax.Array:
    ratio = losses.dlr if logits.shape[-1] >= LEAST_CLASSES else losses.margin
    ways = [
      lambda z: losses.cross_entropy(z, labels),
      lambda z: losses.margin(z, labels),
      lambda z: ratio(z, labels),
      scaled,
      lambda z: losses.targeted_cross_entropy(z, targets),
    ]
    return jax.lax.switch(which, ways, logits.astype(jnp.float32))

  return value


@dataclasses.dataclass(frozen=True)
class PGD:
  """Projected gradient ascent.

  Attributes:
    ball: where it stays; its eps may be traced.
    step_size: the length of a step, of 255; may be traced.
    steps: how many, at most `most`; may be traced.
    most: of the arrays of a `Walk`.
  """

  ball: Ball
  step_size: float
  steps: int
  most: int

  def __call__(
    self,
    logits_fn: LogitsFn,
    loss_fn: Callable[[jax.Array], jax.Array],
    images: jax.Array,
    labels: jax.Array,
    start: jax.Array,
  ) -> Walk:
    """Attacks a batch from given points.

    Args:
      logits_fn: images [n, h, w, c] in 0..255 to logits [n, k].
      loss_fn: logits [n, k] to [n]; the attack raises it.
      images: [n, h, w, c], pixels in 0..255.
      labels: [n], the true classes: other predictions break an image.
      start: [n, h, w, c].
    """
    count = len(images)

    def evaluate(adv: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
      def total(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        logits = logits_fn(x).astype(jnp.float32)
        value = loss_fn(logits)
        return value.sum(), (value, logits.argmax(-1) != labels)

      gradient, (value, broken) = jax.grad(total, has_aux=True)(adv)
      return gradient, value, broken

    def step(i: jax.Array, walk: Walk) -> Walk:
      gradient, value, broken = evaluate(walk.last)
      moved = walk.last + self.step_size * self.ball.ascent(gradient)
      moved = self.ball.project(moved, images)
      keep = broken | (walk.first > self.steps)
      return Walk(
        adv=jnp.where(keep[:, None, None, None], walk.last, walk.adv),
        last=jnp.where(i < self.steps, moved, walk.last),
        first=jnp.where(broken, jnp.minimum(walk.first, i), walk.first),
        loss=walk.loss.at[:, i].set(value),
        flat=walk.flat.at[:, i].set((gradient == 0).all((1, 2, 3))),
      )

    walk = Walk(
      adv=start,
      last=start,
      first=jnp.full(count, self.steps + 1, jnp.int32),
      loss=jnp.full((count, self.most + 1), jnp.nan),
      flat=jnp.zeros((count, self.most + 1), bool),
    )
    walk = jax.lax.fori_loop(0, self.steps + 1, step, walk)
    return jax.lax.stop_gradient(walk)
