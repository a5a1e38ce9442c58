"""A few images beside their adversarial ones, and what the network says of both."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from robustjax.config import Config
from robustjax.data import sample, sources
from robustjax.errors import UserError
from robustjax.evaluation import trajectory
from robustjax.inspect.choice import Choice
from robustjax.run import network
from robustjax.run import workdir as workdirs
from robustjax.run.data import images_of
from robustjax.runtime import log, parallel, settings
from robustjax.training.state import TrainState

Arrays = dict[str, npt.NDArray[Any]]

_KEY = (
  1  # of the seed's randomness: the attack on examples; that on batches has another
)


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
  attack = trajectory.make_steps(
    logits, attack_logits, eps=eps, num_classes=num_classes
  )
  targets, adv = parallel.once(attack.begin)(batch, key)
  adv = parallel.once(attack.advance)(variables, batch, adv, targets, step_size, steps)
  both = np.concatenate([batch["image"].astype(np.float32), np.asarray(adv)])
  predicted = parallel.once(functools.partial(_predicted, logits))(variables, both)
  clean, attacked = np.split(predicted, 2)
  arrays = {
    "clean": batch["image"],
    "adv": adv,
    "label": batch["label"],
    "target": targets,
    "predicted_clean": clean,
    "predicted_adv": attacked,
  }
  for name in ("clean", "adv"):
    if np.any(arrays[f"predicted_{name}"] < 0):
      raise UserError(f"the logits of {name} images are not finite: it has diverged")
  return {name: np.asarray(values) for name, values in arrays.items()}


def _predicted(
  logits: Callable[[trajectory.Variables, jax.Array], jax.Array],
  variables: trajectory.Variables,
  images: jax.Array,
) -> jax.Array:
  """The largest logit of each image; -1 where they are not all numbers."""
  scores = logits(variables, images)
  return jnp.where(jnp.isfinite(scores).all(-1), scores.argmax(-1), -1)


def attacked_images(
  config: Config,
  source: sources.Source,
  state: TrainState,
  choice: Choice,
) -> Arrays:
  """Random images of the evaluation, attacked as there, through the adv branch.

  Args:
    config: of the run.
    source: of the test images.
    state: on one device.
    choice: its images, seed and steps.

  Returns:
    What examples.npz holds, see `files.read_examples`.
  """
  values = config.eval
  rng = np.random.default_rng(choice.seed)
  count = min(choice.images, values.images)
  evaluated = sample.indices(source, values.images)
  chosen = np.sort(rng.choice(values.images, count, False))
  batch = images_of(config, source).read([evaluated[i] for i in chosen])
  steps = choice.steps or max(values.readings)
  (plan,) = trajectory.trajectories((steps,), values.eps, values.step_size)
  branches = network.branches(config, state.variables)
  branch = network.usual(branches)
  (device,) = state.step.devices()
  platform = parallel.platform(device)
  log.complain(f"{count} images against PGD-{steps}; it compiles first.")
  arrays = examples(
    network.logits_fn(config, platform, exact=True),
    network.logits_fn(config, platform, attacked=True, exact=True),
    branches[branch],
    batch,
    jax.random.fold_in(settings.key(choice.seed), _KEY),
    steps=steps,
    step_size=plan.step_size,
    eps=values.eps,
    num_classes=config.data.classes,
  )
  about = {
    "index": batch["index"],
    "names": np.asarray(source.class_names),
    "run": np.asarray(workdirs.default(config).name),
    "step": np.asarray(state.step),
    "branch": np.asarray(branch),
    "eps": np.asarray(values.eps),
    "steps": np.asarray(steps),
  }
  return arrays | about
