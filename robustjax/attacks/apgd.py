"""Auto-PGD: projected gradient ascent that sets its own step size (Croce & Hein 2020).

Each step goes by the gradient and by momentum. At checkpoints, which come closer
together, the step is halved for images whose loss did not rise often enough, or not at
all since the last halving, and they go on from their best point.

All of an attack is one loop over steps for a batch whose images do not depend on each
other: it compiles once, and a result depends neither on the batch nor on its order.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from robustjax.attacks import result as results
from robustjax.attacks.balls import Ball
from robustjax.attacks.pgd import LogitsFn
from robustjax.attacks.result import LossFn, Result, where


class _Iterate(NamedTuple):
  """What goes from step to step; arrays are of [n, ...]."""

  adv: jax.Array
  before: jax.Array  # the iterate before `adv`
  gradient: jax.Array
  last: jax.Array  # the loss of the step before
  step_size: jax.Array
  rises: jax.Array  # how often the loss rose since the last checkpoint
  best_gradient: jax.Array
  loss_at_check: jax.Array  # the highest until the last checkpoint
  halved: jax.Array  # whether the step was halved there
  result: Result


@dataclasses.dataclass(frozen=True)
class APGD:
  """Auto-PGD with the constants of the official code.

  Attributes:
    ball: where it stays; the first steps are 2 eps long.
    steps: how many, at least 1.
    rho: the part of the steps between checkpoints that must raise the loss.
    momentum: how much of a step is the gradient's; the rest is the step before.
    until_broken: whether an image that is misclassified stays as it is from then on,
      and the attack ends when all are.
  """

  ball: Ball
  steps: int = 100
  rho: float = 0.75
  momentum: float = 0.75
  until_broken: bool = False

  def checkpoints(self) -> list[int]:
    """The steps after which step sizes are looked at: 22, 41, 57, 70, ... of 100."""
    found, at = [], 0
    gap = max(int(0.22 * self.steps), 1)
    least, less = max(int(0.06 * self.steps), 1), max(int(0.03 * self.steps), 1)
    while (at := at + gap) <= self.steps:
      found.append(at)
      gap = max(gap - less, least)
    return found

  def __call__(
    self,
    logits_fn: LogitsFn,
    loss_fn: LossFn,
    images: jax.Array,
    labels: jax.Array,
    start: jax.Array,
  ) -> Result:
    """Attacks a batch from given points.

    Args:
      logits_fn: images [n, h, w, c] in 0..255 to logits [n, k], each image by itself.
      loss_fn: logits [n, k] to [n], from `losses`; the attack raises it.
      images: [n, h, w, c], pixels in 0..255.
      labels: [n], the true classes: other predictions break an image.
      start: [n, h, w, c], such as `ball.on_face`.
    """
    images, start = images.astype(jnp.float32), start.astype(jnp.float32)

    evaluate = results.evaluator(logits_fn, loss_fn, labels)
    gradient, loss, broken = evaluate(start)
    count = jnp.zeros(len(images), jnp.int32)
    state = _Iterate(
      adv=start,
      before=start,
      gradient=gradient,
      # The official code compares the first step's loss with this, not the start's.
      last=jnp.zeros_like(loss),
      step_size=jnp.full_like(loss, 2 * self.ball.eps),
      rises=count,
      best_gradient=gradient,
      loss_at_check=loss,
      halved=jnp.ones_like(broken),
      result=results.first(start, loss, broken, self.steps),
    )
    checks = jnp.zeros(self.steps + 1, jnp.int32).at[jnp.array(self.checkpoints())]
    gaps = jnp.diff(jnp.array([0, *self.checkpoints()]))
    gap_at = checks.set(gaps)  # 0 where there is none

    def step(i: jax.Array, state: _Iterate) -> _Iterate:
      moved = self._move(images, state, jnp.where(i > 0, self.momentum, 1.0))
      new = self._look(state, moved, *evaluate(moved), i)
      gap = gap_at[i + 1]
      return jax.lax.cond(gap > 0, lambda s: self._check(s, gap), lambda s: s, new)

    state = results.climb(step, state, self.steps, self.until_broken)
    return jax.lax.stop_gradient(state.result)

  def _move(self, images: jax.Array, state: _Iterate, share: jax.Array) -> jax.Array:
    """The next iterate: by the gradient, and by the way of the last step."""
    length = state.step_size[:, None, None, None]
    by_gradient = state.adv + length * self.ball.ascent(state.gradient)
    by_gradient = self.ball.project(by_gradient, images)
    both = (
      state.adv
      + (by_gradient - state.adv) * share
      + (state.adv - state.before) * (1 - share)
    )
    return self.ball.project(both, images)

  def _look(
    self,
    state: _Iterate,
    adv: jax.Array,
    gradient: jax.Array,
    loss: jax.Array,
    broken: jax.Array,
    i: jax.Array,
  ) -> _Iterate:
    """Takes down what the new iterate is worth."""
    better = loss > state.result.loss
    return state._replace(
      adv=adv,
      before=state.adv,
      gradient=gradient,
      last=loss,
      rises=state.rises + (loss > state.last),
      best_gradient=where(better, gradient, state.best_gradient),
      result=state.result.after(adv, loss, broken, i + 1),
    )

  def _check(self, state: _Iterate, gap: jax.Array) -> _Iterate:
    """Halves the steps that are too long, and goes back to the best points."""
    stands = (state.loss_at_check >= state.result.loss) & ~state.halved
    halve = (state.rises <= gap * self.rho) | stands
    return state._replace(
      adv=where(halve, state.result.best, state.adv),
      gradient=where(halve, state.best_gradient, state.gradient),
      step_size=jnp.where(halve, state.step_size / 2, state.step_size),
      rises=jnp.zeros_like(state.rises),
      loss_at_check=state.result.loss,
      halved=halve,
    )
