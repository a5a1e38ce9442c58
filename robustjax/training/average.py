"""A moving average of the weights, which is what is evaluated. Not in the paper.

Polyak & Juditsky 1992; of adversarial training, Gowal et al. 2020 (arXiv:2010.03593).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from robustjax.training.state import TrainState


class Averaged(NamedTuple):
  """The state of an optimiser with the average beside it: in checkpoints, too.

  Attributes:
    optimizer: its own state.
    params: the average of the parameters, float32.
    batch_stats: of the running statistics: those of the last weights are not those of
      averaged ones.
  """

  optimizer: Any
  params: Any
  batch_stats: Any


def begun(state: TrainState) -> TrainState:
  """A state whose average is what it has now: before the first step.

  Args:
    state: without an average, or with one that is of other weights.
  """
  of_it = state.opt_state
  own = of_it.optimizer if isinstance(of_it, Averaged) else of_it
  averaged = Averaged(own, *jax.tree.map(jnp.copy, (state.params, state.batch_stats)))
  return state.replace(opt_state=averaged)


def keeping(
  step: Callable[..., tuple[TrainState, Any]], decay: float
) -> Callable[..., tuple[TrainState, Any]]:
  """A train step that also moves the average.

  Args:
    step: from `step.make_train_step`: (state, batch, key) -> (state, metrics).
    decay: 0..1: what the average keeps of itself a step. At the first steps it is
      (1 + t) / (10 + t) at most, as TensorFlow's ExponentialMovingAverage has it, so
      that the initial weights are soon forgotten.

  Returns:
    The same of states with an average.
  """

  def train_step(
    state: TrainState, batch: Any, key: jax.Array
  ) -> tuple[TrainState, Any]:
    before = state.opt_state
    new, metrics = step(state.replace(opt_state=before.optimizer), batch, key)
    taken = state.step.astype(jnp.float32)
    moves = 1 - jnp.minimum(decay, (1 + taken) / (10 + taken))
    moved = optax.incremental_update(
      (new.params, new.batch_stats), (before.params, before.batch_stats), moves
    )
    return new.replace(opt_state=Averaged(new.opt_state, *moved)), metrics

  return train_step


def evaluated(state: TrainState) -> TrainState:
  """The state with the variables that are evaluated: averaged ones, if there are."""
  of_it = state.opt_state
  if not isinstance(of_it, Averaged):
    return state
  return state.replace(params=of_it.params, batch_stats=of_it.batch_stats)
