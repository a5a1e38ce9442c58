"""Checks of the gradients: there are some, they lead up, and survive less precision."""

from robustjax.audit.check import Check, Verdict, made, not_made
from robustjax.audit.evidence import Evidence
from robustjax.audit.programs import Array
from robustjax.audit.walk import LEAST_CLASSES


def checks(evidence: Evidence) -> list[Check]:
  """All of this file; some image is classified rightly."""
  zeros = [zero(evidence, loss) for loss in ("ce", "margin", "dlr")]
  return [*zeros, small_step(evidence), precision(evidence)]


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


def small_step(evidence: Evidence) -> Check:
  """A step of eps / 16 along the margin's gradient raises the margin.

  It does if the gradient is the function's: not another's, not noise, and not that of
  waves shorter than the step.
  """
  what = "whose margin a small step along its gradient does not raise"
  return share(evidence, ~(evidence.rise > 0), "a small step", what)


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
