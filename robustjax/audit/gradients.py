"""Checks of the gradients: there are some, they lead up, and survive less precision."""

import numpy as np

from robustjax.audit.check import RULES, Check, Verdict, made, not_made
from robustjax.audit.evidence import Evidence
from robustjax.audit.programs import Array
from robustjax.audit.walk import LEAST_CLASSES

_TINY = np.finfo(np.float64).tiny


def checks(evidence: Evidence) -> list[Check]:
  """All of this file; some image is classified rightly."""
  zeros = [zero(evidence, loss) for loss in ("ce", "margin", "dlr")]
  return [*zeros, differences(evidence), precision(evidence)]


def share(
  evidence: Evidence,
  images: Array,
  name: str,
  what: str,
  fails: Verdict | None = None,
) -> Check:
  """A check whose number is a share of the images that are classified rightly.

  Args:
    evidence: of the audit.
    images: [n] bool; the others do not count.
    name: of the check.
    what: in words, after "share of images".
    fails: the verdict if it fails, in place of its rule's.
  """
  images = images & evidence.right
  number, count = images.sum() / evidence.count, evidence.count
  found = evidence.indices[images]
  what = f"share of images {what}"
  return made(name, number, what, found, count=count, fails=fails)


def zero(evidence: Evidence, loss: str) -> Check:
  """An exactly zero gradient is a loss or a layer that saturates, or rounding.

  At the image itself; for the cross-entropy also at half or more of the iterates of an
  attack, which starts elsewhere.
  """
  name = f"zero gradients, {loss}"
  if loss == "dlr" and evidence.answers.logits.shape[-1] < LEAST_CLASSES:
    return not_made(name, f"the loss takes {LEAST_CLASSES} classes or more")
  flat = evidence.flat[loss]
  what = "whose gradient is exactly zero"
  if loss == "ce":
    flat = flat | (evidence.flat_way >= 0.5)
    what += ", or is on half of an attack's way"
  return share(evidence, flat, name, what)


def differences(evidence: Evidence) -> Check:
  """Along random directions, the margin does what its gradient says.

  Not if the gradient is another's, noise, of some pixels or some units alone, of waves
  shorter than the step, or straight through what is rounded. Attacks may do well along
  such gradients, but nothing says that none does better.

  Half of a network left out of its gradient is a third; of honest networks 0.06 was
  seen, where pixels are pooled by their largest or all is computed in bfloat16. All
  images' sums are taken together: a single one's holds too much such rounding.
  """
  found, right = evidence.differences, evidence.right
  number = found.unexplained[right].sum() / max(found.total[right].sum(), _TINY)
  worst = np.argsort(-found.unexplained, kind="stable")
  limit = RULES["differences"].limit
  failed = (found.unexplained > limit * found.total) & right
  what = "part of the margin's differences that its gradient does not explain"
  return made("differences", number, what, evidence.indices[worst[failed[worst]]])


def precision(evidence: Evidence) -> Check:
  """An attack through bfloat16 breaks as much as one through float32.

  Images are rounded by at most half a pixel value before the network, and logits
  before the loss; what breaks is judged without rounding. Gradients that change with so
  little, or logits whose differences are lost in it, are not to be relied on.
  """
  exact, rounded = (
    evidence.attacks[name].broken & evidence.right
    for name in ("apgd-ce", "apgd-rounded")
  )
  number = abs(int(exact.sum()) - int(rounded.sum())) / evidence.count
  what = "difference of the shares that Auto-PGD breaks in bfloat16 and in float32"
  found = evidence.indices[exact != rounded]
  return made("low precision", number, what, found, count=evidence.count)
