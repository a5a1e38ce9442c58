"""What training carries from step to step."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax


class TrainState(flax.struct.PyTreeNode):
  """Everything that a run's future depends on, beside its configuration.

  There is no random state: a step's randomness follows from the run's key and the
  step's number, so a restored run goes on with the numbers it would have drawn.

  Attributes:
    step: how many steps have been taken, int32 scalar.
    params: trainable variables, float32.
    batch_stats: running means and variances, float32, a branch for each domain.
    opt_state: of the optimiser.
  """

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any

  @property
  def variables(self) -> dict[str, Any]:
    """For `model.apply`."""
    return {"params": self.params, "batch_stats": self.batch_stats}


def create(
  init: Callable[..., Any],
  optimizer: optax.GradientTransformation,
  key: jax.Array,
  image_shape: tuple[int, int, int],
) -> TrainState:
  """The state before the first step.

  Args:
    init: the model's `init`: (key, images) to variables.
    optimizer: from `robustjax.training.optimizer`.
    key: a PRNG key.
    image_shape: (h, w, c).

  Returns:
    The state, at step 0. Works under `jax.eval_shape` too.
  """
  variables = init(key, jnp.zeros((1, *image_shape)))
  params = variables["params"]
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=variables.get("batch_stats", {}),
    opt_state=optimizer.init(params),
  )
