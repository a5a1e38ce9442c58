"""The optimisers of the paper, their schedule, and which parameters they move."""

from collections.abc import Sequence
from typing import Any

import jax
import optax


def peak_rate(per_256: float, batch_size: int) -> float:
  """The learning rate of a batch size.

  Args:
    per_256: of 256 images; 0.1 in FD.
    batch_size: over all devices, at least 1.

  Returns:
    `per_256` for every whole 256 images, as FD counts them. Smaller batches, which FD
    would train at a rate of 0, have theirs in proportion.
  """
  return per_256 * (batch_size // 256 if batch_size >= 256 else batch_size / 256)


def step_schedule(
  *,
  peak: float,
  steps_per_epoch: int,
  warmup_epochs: float,
  warmup_from: float,
  decay_epochs: Sequence[float],
  decay_factor: float,
) -> optax.Schedule:
  """The learning rate at each step.

  Args:
    peak: after the warm-up, see `peak_rate`.
    steps_per_epoch: of training.
    warmup_epochs: how long the rate rises linearly; 0 for no warm-up.
    warmup_from: where it starts, never above the peak. FD: 0.1.
    decay_epochs: when it is multiplied by `decay_factor` (paper section 3: the
      35th, 70th and 95th epoch).
    decay_factor: 0.1 in the paper.

  Returns:
    step -> learning rate.
  """
  warmup = round(warmup_epochs * steps_per_epoch)
  decays: dict[int, float] = {}
  for epoch in decay_epochs:  # two that fall on one step both count
    boundary = round(epoch * steps_per_epoch)
    decays[boundary] = decays.get(boundary, 1.0) * decay_factor
  steps = optax.piecewise_constant_schedule(peak, decays)
  if not warmup:
    return steps
  rise = optax.linear_schedule(min(warmup_from, peak), peak, warmup)
  # join_schedules hands the second one steps counted from the boundary, and the
  # decays are counted from the start.
  return optax.join_schedules([rise, lambda step: steps(step + warmup)], [warmup])


def cosine_schedule(
  *, peak: float, steps: int, steps_per_epoch: int, warmup_epochs: float,
  warmup_from: float,
) -> optax.Schedule:  # fmt: skip
  """The learning rate at each step, falling to 0 as half a cosine. Not in the paper.

  Loshchilov & Hutter 2017 (arXiv:1608.03983), without restarts.

  Args:
    peak: after the warm-up, see `peak_rate`.
    steps: of training, at whose end it is 0.
    steps_per_epoch: of training.
    warmup_epochs: how long the rate rises linearly; 0 for no warm-up.
    warmup_from: where it starts, never above the peak.

  Returns:
    step -> learning rate.
  """
  warmup = min(round(warmup_epochs * steps_per_epoch), steps - 1)
  return optax.warmup_cosine_decay_schedule(
    min(warmup_from, peak) if warmup else peak, peak, warmup, steps
  )


def sgd(
  schedule: optax.Schedule, *, momentum: float, nesterov: bool, weight_decay: float
) -> optax.GradientTransformation:
  """Momentum SGD with L2 regularisation of the kernels alone (FD).

  Args:
    schedule: step -> learning rate.
    momentum: 0.9 in FD.
    nesterov: True in FD.
    weight_decay: the factor of the squared L2 norm / 2 in the loss; 1e-4 in FD. It
      acts on the kernels of convolutions and of the last layer, not on norms or
      biases.

  Returns:
    The transformation.
  """
  return optax.chain(
    optax.add_decayed_weights(weight_decay, mask=kernels),
    optax.sgd(schedule, momentum=momentum, nesterov=nesterov),
  )


def rmsprop(
  schedule: optax.Schedule,
  *,
  decay: float,
  eps: float,
  momentum: float,
  nesterov: bool,
  weight_decay: float,
) -> optax.GradientTransformation:
  """RMSProp as TensorFlow has it, for the ALP study (paper appendix A).

  Args:
    schedule: step -> learning rate.
    decay: of the mean of squared gradients; 0.9 for ALP's network (guess).
    eps: added to that mean under the root; 1.0 for ALP's network (guess).
    momentum: of the scaled gradients.
    nesterov: whether that momentum looks ahead.
    weight_decay: as in `sgd`.

  Returns:
    The transformation. The mean of squares starts at 1, as TensorFlow's does.
  """
  return optax.chain(
    optax.add_decayed_weights(weight_decay, mask=kernels),
    optax.rmsprop(
      schedule, decay, eps, initial_scale=1.0, momentum=momentum, nesterov=nesterov
    ),
  )


def norms_alone(
  optimizer: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Moves scales and biases of norm layers and nothing else (paper section 4.4)."""

  def labels(params: Any) -> Any:
    return jax.tree.map(lambda is_norm: "moves" if is_norm else "stays", norms(params))

  return optax.partition({"moves": optimizer, "stays": optax.set_to_zero()}, labels)


def kernels(params: Any) -> Any:
  """A tree of booleans: which parameters are kernels."""
  return jax.tree_util.tree_map_with_path(lambda p, _: p[-1].key == "kernel", params)


def norms(params: Any) -> Any:
  """A tree of booleans: which parameters are a norm layer's scale or bias."""

  def of_a_layer(tree: Any) -> Any:
    # Convolutions and dense layers may have a bias too, beside a kernel.
    return {
      name: of_a_layer(child)
      if isinstance(child, dict)
      else name in ("scale", "bias") and "kernel" not in tree
      for name, child in tree.items()
    }

  return of_a_layer(params)
