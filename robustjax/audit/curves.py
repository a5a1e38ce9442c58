"""Checks of how far an attack gets: with a larger eps, with more steps, at its end."""

import itertools

import numpy as np

from robustjax.audit.check import RULES, Check, made
from robustjax.audit.evidence import Evidence
from robustjax.audit.gradients import share

_ROUNDING = 1e-3  # pixel values


def checks(evidence: Evidence) -> list[Check]:
  """All of this file; some image is classified rightly."""
  return [
    largest_eps(evidence),
    rising_eps(evidence),
    more_steps(evidence),
    last_iterate(evidence),
    within(evidence),
  ]


def largest_eps(evidence: Evidence) -> Check:
  """With an eps at which any image can become grey, no more than chance is right.

  If all were the same grey, they would have the same prediction: an accuracy above the
  share of the most frequent class proves that the attack missed that way.
  """
  top, rule = max(evidence.ladder), RULES["largest eps"]
  right = evidence.right & ~evidence.ladder[top]
  chance = np.bincount(evidence.labels).max() / len(evidence.labels)
  what = f"accuracy against PGD-{evidence.effort.steps} with an eps of {top:g}"
  found = evidence.indices[right]
  limit = max(rule.limit, float(chance))
  return made("largest eps", right.mean(), what, found, limit=limit)


def rising_eps(evidence: Evidence) -> Check:
  """A larger eps allows all that a smaller one does."""
  rungs = [broken & evidence.right for broken in evidence.ladder.values()]
  pairs = list(itertools.pairwise(rungs))
  losses = [int(less.sum()) - int(more.sum()) for less, more in pairs]
  number = max([0, *losses]) / evidence.count
  found = evidence.indices[:0]
  if number:
    less, more = pairs[int(np.argmax(losses))]
    found = evidence.indices[less & ~more]
  what = "largest rise of the accuracy from one eps to the next larger"
  return made("rising eps", number, what, found, count=evidence.count)


def more_steps(evidence: Evidence) -> Check:
  """More steps must not break many more: or the attack had not arrived.

  The paper's Figure 2 in one number: there PGD-10 left many images to PGD-2000.
  """
  steps, most = evidence.effort.steps, evidence.effort.most
  first = evidence.long["first"]
  found = (first > steps) & (first <= most)
  what = f"that PGD-{most} breaks, and not within {steps} steps"
  return share(evidence, found, "more steps", what)


def last_iterate(evidence: Evidence) -> Check:
  """An attack that passes by what it looks for, and does not return it."""
  most = evidence.effort.most
  at_end = evidence.last.broken
  found = (evidence.long["first"] <= most) & ~at_end
  what = f"that PGD-{most} breaks on its way, and not at its last iterate"
  return share(evidence, found, "last iterate", what)


def within(evidence: Evidence) -> Check:
  """Every image of every attack is an image, within eps of its source."""
  images, eps = evidence.images.astype(np.float64), evidence.eps
  worst = np.zeros(len(images))
  attacks = [*evidence.attacks.values(), *evidence.parts.values()]
  attacks += [evidence.last, *evidence.transfers.values()]
  for found in attacks:
    adv = found.adv.astype(np.float64)
    change = (adv - images).reshape(len(adv), -1)
    size = np.linalg.norm(change, np.inf if evidence.norm == "linf" else 2, axis=-1)
    flat = adv.reshape(len(adv), -1)
    beyond = np.max([size - eps, -flat.min(-1), flat.max(-1) - 255.0], 0)
    worst = np.maximum(worst, np.where(np.isfinite(beyond), beyond, 255.0))
  what = "how far an adversarial image is outside of eps or 0..255, in pixel values"
  found_at = evidence.indices[worst > _ROUNDING]
  return made("within the ball", worst.max(), what, found_at)
