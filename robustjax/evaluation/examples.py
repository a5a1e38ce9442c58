"""A few images beside their adversarial ones, and what the network says of both."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from robustjax.evaluation import trajectory

Arrays = dict[str, npt.NDArray[Any]]


def examples(
  logits: Callable[[trajectory.Variables, jax.Array], jax.Array],
  attack_logits: Callable[[trajectory.Variables, jax.Array], jax.Array],
  variables: trajectory.Variables,
  batch: dict[str, Any],
  key: jax.Array,
  *,
  steps: int,
  step_size: float,
  eps: float,
  num_classes: int,
) -> Arrays:
  """Attacks the images of a batch as the evaluation does, through one branch.

  Args:
    logits: (variables, images [n, h, w, c]) to [n, k], which predictions come from.
    attack_logits: the same function, perhaps computed in another way, for gradients.
    variables: of a network with a single branch (`norm.branch_of`).
    batch: "image" [n, h, w, c] uint8, "label" [n], "index" [n]: the index in the data
      set and the key decide an image's target and its random start.
    key: of the attack.
    steps: how many steps the attack makes.
    step_size: of 255; `trajectory.trajectories` has the one that goes with the steps.
    eps: of 255.
    num_classes: the number of classes to draw targets from.

  Returns:
    "clean" uint8 and "adv" float32, [n, h, w, c], pixels in 0..255; "label", "target",
    "predicted_clean", "predicted_adv" [n] int32.
  """
  made = trajectory.make_steps(logits, attack_logits, eps=eps, num_classes=num_classes)
  targets, adv = jax.jit(made.begin)(batch, key)
  adv = jax.jit(made.advance)(variables, batch, adv, targets, step_size, steps)

  predict = jax.jit(lambda variables, images: logits(variables, images).argmax(-1))
  found = {
    "clean": batch["image"],
    "adv": adv,
    "label": batch["label"],
    "target": targets,
    "predicted_clean": predict(variables, batch["image"].astype(np.float32)),
    "predicted_adv": predict(variables, adv),
  }
  return {name: np.asarray(values) for name, values in found.items()}
