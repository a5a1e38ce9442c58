"""What a search that climbs a loss has found, kept up step by step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from robustjax.attacks.pgd import LogitsFn

LossFn = Callable[[jax.Array], jax.Array]  # logits [n, k] to [n], from `losses`


class Result(NamedTuple):
  """What an attack found.

  Attributes:
    adv: [n, h, w, c], the last iterate that was misclassified, or the first iterate.
    broken: [n] bool, whether any was.
    best: [n, h, w, c], the iterate of the highest loss.
    loss: [n], that loss.
    steps: [n] int32, the step of the first misclassified iterate, 0 for the first
      iterate itself; the number of steps if none was.
    last: [n, h, w, c], the last iterate.
  """

  adv: jax.Array
  broken: jax.Array
  best: jax.Array
  loss: jax.Array
  steps: jax.Array
  last: jax.Array

  def after(
    self, adv: jax.Array, loss: jax.Array, broken: jax.Array, step: jax.Array
  ) -> "Result":
    """The result with one more iterate, made by so many steps."""
    better = loss > self.loss
    return Result(
      adv=where(broken, adv, self.adv),
      broken=self.broken | broken,
      best=where(better, adv, self.best),
      loss=jnp.where(better, loss, self.loss),
      steps=jnp.where(broken & ~self.broken, step, self.steps),
      last=adv,
    )


def first(start: jax.Array, loss: jax.Array, broken: jax.Array, steps: int) -> Result:
  """The result before the first of so many steps."""
  return Result(start, broken, start, loss, jnp.where(broken, 0, steps), start)


def evaluator(
  logits_fn: LogitsFn, loss_fn: LossFn, labels: jax.Array
) -> Callable[[jax.Array], tuple[jax.Array, jax.Array, jax.Array]]:
  """Images to their gradient, their loss [n] and whether they are broken [n]."""

  def total(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    logits = logits_fn(x).astype(jnp.float32)
    loss = loss_fn(logits)
    return loss.sum(), (loss, logits.argmax(-1) != labels)

  def evaluate(adv: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    gradient, (loss, broken) = jax.grad(total, has_aux=True)(adv)
    return gradient, loss, broken

  return evaluate


def where(mask: jax.Array, one: Any, other: Any) -> Any:
  """The arrays [n, ...] of one where the mask [n] is set, else those of the other."""

  def choose(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.where(mask.reshape(-1, *(1,) * (a.ndim - 1)), a, b)

  return jax.tree.map(choose, one, other)


def climb(
  step: Callable[[jax.Array, Any], Any], state: Any, steps: int, until_broken: bool
) -> Any:
  """Goes so many steps from a state that has a `result`.

  Args:
    step: (number of the step from 0, state) -> state.
    state: a NamedTuple of arrays [n, ...].
    steps: at least 1.
    until_broken: whether an image that is misclassified stays as it is from then on,
      and all ends when all are.
  """

  def unfinished(carry: tuple[jax.Array, Any]) -> jax.Array:
    i, state = carry
    going = i < steps
    return going & ~state.result.broken.all() if until_broken else going

  def forward(carry: tuple[jax.Array, Any]) -> tuple[jax.Array, Any]:
    i, state = carry
    new = step(i, state)
    return i + 1, where(state.result.broken, state, new) if until_broken else new

  _, state = jax.lax.while_loop(unfinished, forward, (jnp.array(0), state))
  return state
