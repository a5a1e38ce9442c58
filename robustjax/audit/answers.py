"""Checks of what the network answers: finite, of the image alone, always the same."""

import numpy as np

from robustjax.audit.check import RULES, Check, made
from robustjax.audit.evidence import Answers
from robustjax.audit.programs import Array

# exp of less is no normal float32 number: the cross-entropy of an image whose logits
# lie further apart has no gradient that can be trusted.
FARTHEST = 87.0

# Logits that are rounded to more than this share of their distance lead nowhere.
COARSEST = 1e-3

_SURE = 1e-5  # of AutoAttack's flag: how exactly probabilities add up to 1


def checks(answers: Answers) -> list[Check]:
  """All of this file."""
  passes, reference = answers.passes, answers.logits
  again = [values for name, values in passes.items() if name.startswith("repeat")]
  repeated = np.max([apart(reference, values) for values in again], 0)
  ways = {
    "permuted batch": (apart(reference, passes["permuted"]), "in another order"),
    "split batch": (
      apart(reference, passes["split"]),
      "half as many, among blank ones",
    ),
    "repeated pass": (repeated, f"the same, {len(again)} times more"),
    "attacked network": (
      apart(reference, passes["attacked"]),
      "as the attacks' gradients see them",
    ),
  }
  return [
    finite(answers),
    *(_same(answers, name, *way) for name, way in ways.items()),
    probabilities(answers),
    spread(answers),
  ]


def apart(one: Array, other: Array) -> Array:
  """[n], the L2 distance of two [n, k] of logits, divided by the larger one's norm.

  AutoAttack's flag for random networks divides each by its own norm, which hides a
  temperature that depends on the batch. Here it is without the mean of an image's
  logits, which decides nothing and could hide any noise. What is not finite is 0.
  """

  def centred(logits: Array) -> Array:
    logits = np.nan_to_num(logits.astype(np.float64), posinf=0.0, neginf=0.0)
    return logits - logits.mean(-1, keepdims=True)

  one, other = centred(one), centred(other)
  size = np.maximum(*(np.linalg.norm(logits, axis=-1) for logits in (one, other)))
  return np.linalg.norm(one - other, axis=-1) / (size + np.finfo(np.float64).tiny)


def _same(answers: Answers, name: str, distance: Array, how: str) -> Check:
  """The logits of the images in another way are the logits of the images."""
  worst = np.argsort(-distance, kind="stable")
  number = float(distance.max())
  what = f"largest relative change of an image's logits: {how}"
  images = answers.indices[worst[distance[worst] > RULES[name].limit]]
  return made(name, number, what, images)


def finite(answers: Answers) -> Check:
  """No logit is infinite or not a number (an attack's loss would be neither)."""
  bad = ~np.isfinite(answers.logits).all(-1)
  what = "share of images with a logit that is infinite or not a number"
  return made("finite logits", bad.mean(), what, answers.indices[bad])


def probabilities(answers: Answers) -> Check:
  """Outputs are no probabilities: a second softmax on them flattens every loss."""
  outputs = answers.logits
  low, high = outputs.min(-1) > -_SURE, outputs.max(-1) < 1 + _SURE
  looks = low & high & (np.abs(outputs.sum(-1) - 1) < _SURE)
  what = "share of images whose outputs look like a softmax, not like logits"
  return made(
    "probabilities", looks.mean(), what, answers.indices[looks], count=len(looks)
  )


def spread(answers: Answers) -> Check:
  """Logits that float32 still tells apart, before and inside a softmax.

  Two ways to lose the gradient: the two largest lie further apart than `FARTHEST`, or
  all are so large that float32 rounds them by more than `COARSEST` of their distance.
  """
  logits = answers.logits.astype(np.float64)
  ordered = np.sort(np.nan_to_num(logits), -1)
  far = ordered[:, -1] - ordered[:, -2] > FARTHEST
  step = np.finfo(np.float32).eps * np.abs(ordered).max(-1)
  coarse = step > COARSEST * (ordered[:, -1] - ordered[:, 0])
  bad = far | coarse
  what = "share of images whose logits are too far apart, or too large, for float32"
  return made("range of logits", bad.mean(), what, answers.indices[bad], count=len(bad))
