"""Plain PGD for evaluation: steps of one size up any loss, in any ball.

The paper's own attack is in `pgd`: to a random target, and its last iterate counts.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from robustjax.attacks import result as results
from robustjax.attacks.balls import Ball
from robustjax.attacks.pgd import LogitsFn
from robustjax.attacks.result import LossFn, Result


class _Iterate(NamedTuple):
  adv: jax.Array
  gradient: jax.Array
  result: Result


@dataclasses.dataclass(frozen=True)
class Ascent:
  """Projected gradient ascent (Madry et al. 2018).

  Attributes:
    ball: where it stays.
    step_size: the length of a step in the ball's norm, of 255.
    steps: how many, at least 1.
    until_broken: whether an image that is misclassified stays as it is from then on,
      and the attack ends when all are.
  """

  ball: Ball
  step_size: float
  steps: int
  until_broken: bool = False

  def __call__(
    self,
    logits_fn: LogitsFn,
    loss_fn: LossFn,
    images: jax.Array,
    labels: jax.Array,
    start: jax.Array,
  ) -> Result:
    """Attacks a batch from given points; the arguments are those of `apgd.APGD`."""
    images, start = images.astype(jnp.float32), start.astype(jnp.float32)
    evaluate = results.evaluator(logits_fn, loss_fn, labels)
    gradient, loss, broken = evaluate(start)
    state = _Iterate(start, gradient, results.first(start, loss, broken, self.steps))

    def step(i: jax.Array, state: _Iterate) -> _Iterate:
      moved = state.adv + self.step_size * self.ball.ascent(state.gradient)
      adv = self.ball.project(moved, images)
      gradient, loss, broken = evaluate(adv)
      return _Iterate(adv, gradient, state.result.after(adv, loss, broken, i + 1))

    state = results.climb(step, state, self.steps, self.until_broken)
    return jax.lax.stop_gradient(state.result)
