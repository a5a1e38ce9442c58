"""Auto-PGD: projected gradient ascent that sets its own step size (Croce & Hein 2020).

Each step goes by the gradient and by momentum. At checkpoints, which come closer
together, the step is halved for images whose loss did not rise often enough, or not at
all since the last halving, and they go on from their best point.

All of an attack is one loop over steps for a batch whose images do not depend on each
other: it compiles once, and a result depends neither on the batch nor on its order.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from robustjax.attacks.balls import Ball
from robustjax.attacks.pgd import LogitsFn

LossFn = Callable[[jax.Array], jax.Array]


class Result(NamedTuple):
  """What an attack found.

  Attributes:
    adv: [n, h, w, c], the last iterate that was misclassified, or the first iterate.
    broken: [n] bool, whether any was.
    best: [n, h, w, c], the iterate of the highest loss.
    loss: [n], that loss.
    steps: [n] int32, the step of the first misclassified iterate, 0 for the first
      iterate itself; the number of steps if none was.
  """

  adv: jax.Array
  broken: jax.Array
  best: jax.Array
  loss: jax.Array
  steps: jax.Array


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
  """

  ball: Ball
  steps: int = 100
  rho: float = 0.75
  momentum: float = 0.75

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

    def evaluate(adv: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
      def total(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        logits = logits_fn(x).astype(jnp.float32)
        loss = loss_fn(logits)
        return loss.sum(), (loss, logits.argmax(-1) != labels)

      gradient, (loss, broken) = jax.grad(total, has_aux=True)(adv)
      return gradient, loss, broken

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
      result=Result(start, broken, start, loss, jnp.where(broken, 0, self.steps)),
    )
    checks = jnp.zeros(self.steps + 1, jnp.int32).at[jnp.array(self.checkpoints())]
    gaps = jnp.diff(jnp.array([0, *self.checkpoints()]))
    gap_at = checks.set(gaps)  # 0 where there is none

    def step(i: jax.Array, state: _Iterate) -> _Iterate:
      moved = self._move(images, state, jnp.where(i > 0, self.momentum, 1.0))
      new = self._look(state, moved, *evaluate(moved), i)
      gap = gap_at[i + 1]
      return jax.lax.cond(gap > 0, lambda s: self._check(s, gap), lambda s: s, new)

    state = jax.lax.fori_loop(0, self.steps, step, state)
    return jax.lax.stop_gradient(state.result)

  def _move(self, images: jax.Array, state: _Iterate, share: jax.Array) -> jax.Array:
    """The next iterate: by the gradient, and by the way of the last step."""
    length = _wide(state.step_size)
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
    known = state.result
    better = loss > known.loss
    result = Result(
      adv=jnp.where(_wide(broken), adv, known.adv),
      broken=known.broken | broken,
      best=jnp.where(_wide(better), adv, known.best),
      loss=jnp.where(better, loss, known.loss),
      steps=jnp.where(broken & ~known.broken, i + 1, known.steps),
    )
    return state._replace(
      adv=adv,
      before=state.adv,
      gradient=gradient,
      last=loss,
      rises=state.rises + (loss > state.last),
      best_gradient=jnp.where(_wide(better), gradient, state.best_gradient),
      result=result,
    )

  def _check(self, state: _Iterate, gap: jax.Array) -> _Iterate:
    """Halves the steps that are too long, and goes back to the best points."""
    stands = (state.loss_at_check >= state.result.loss) & ~state.halved
    halve = (state.rises <= gap * self.rho) | stands
    return state._replace(
      adv=jnp.where(_wide(halve), state.result.best, state.adv),
      gradient=jnp.where(_wide(halve), state.best_gradient, state.gradient),
      step_size=jnp.where(halve, state.step_size / 2, state.step_size),
      rises=jnp.zeros_like(state.rises),
      loss_at_check=state.result.loss,
      halved=halve,
    )


def _wide(values: jax.Array) -> jax.Array:
  """[n] to [n, 1, 1, 1]."""
  return values[:, None, None, None]
