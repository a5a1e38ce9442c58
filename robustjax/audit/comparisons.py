"""Checks of one attack against another: the stronger one must win."""

import numpy as np

from robustjax.audit.check import Check, Verdict, made, not_made
from robustjax.audit.evidence import PARTS, Evidence
from robustjax.audit.gradients import share


def checks(evidence: Evidence, no_others: str) -> list[Check]:
  """All of this file; some image is classified rightly.

  Args:
    evidence: of the audit.
    no_others: why there is no other network, if there is none.
  """
  return [
    scaled(evidence),
    margin(evidence),
    black_box(evidence),
    transfer(evidence, no_others),
    one_step_beats_many(evidence),
    one_step_turns_back(evidence),
    one_step_alone(evidence),
  ]


def _more(
  evidence: Evidence,
  attack: str,
  than: str,
  name: str,
  what: str,
  only: np.ndarray | bool = True,
) -> Check:
  """How many more images one attack breaks than another, as a share.

  What the other does not break counts where `only` [n] is true.
  """
  one, other = (
    evidence.attacks[name].broken & evidence.right for name in (attack, than)
  )
  missed = one & ~other & only
  ahead = int(missed.sum()) - int((other & ~one).sum())
  number = max(ahead, 0) / evidence.count
  return made(name, number, what, evidence.indices[missed], count=evidence.count)


def scaled(evidence: Evidence) -> Check:
  """Dividing the logits changes no prediction: it must not help the cross-entropy."""
  what = "how many more Auto-PGD on the cross-entropy breaks if logits are divided"
  return _more(evidence, "apgd-scaled", "apgd-ce", "scaled logits", what)


def margin(evidence: Evidence) -> Check:
  """What the margin breaks and the cross-entropy misses, though it is higher there.

  Where it is not, the attack on it arrived, at a point that is not the one of the
  highest margin: of a network that is unsure of all classes it weighs them all, and
  that hides no gradient. Where it is, the attack was kept from its own maximum.
  """
  what = (
    "how many more Auto-PGD breaks on the margin, where the cross-entropy is higher"
  )
  higher = evidence.attacks["apgd-margin"].loss > evidence.attacks["apgd-ce"].loss
  return _more(evidence, "apgd-margin", "apgd-ce", "margin loss", what, higher)


def black_box(evidence: Evidence) -> Check:
  """Square sees logits alone: what it breaks, an attack with gradients breaks too."""
  found = evidence.attacks["square"].broken & ~evidence.white_box
  what = f"that {evidence.effort.queries} queries of Square break, and no gradients"
  return share(evidence, found, "black box", what)


def transfer(evidence: Evidence, no_others: str) -> Check:
  """Images made on another network know less than those made on this one."""
  if not evidence.transfers:
    return not_made("transfer", no_others)
  broken = np.any([found.broken for found in evidence.transfers.values()], 0)
  made_on = " or ".join(evidence.transfers)
  what = f"broken as attacked on {made_on}, and by no attack on its own"
  # In L2 a hundred steps without restarts may miss what another network's images find:
  # that was seen of an honest network, so there it is a sign and no proof.
  fails: Verdict | None = "suspicious" if evidence.norm == "l2" else None
  return share(evidence, broken & ~evidence.white_box, "transfer", what, fails)


def one_step_beats_many(evidence: Evidence) -> Check:
  """A single step (FGSM) is the weakest of attacks along gradients."""
  found = evidence.attacks["fgsm"].broken & ~evidence.white_box
  what = "that one step of eps (FGSM) breaks, and many steps do not"
  return share(evidence, found, "one step beats many", what)


def one_step_turns_back(evidence: Evidence) -> Check:
  """On the way of a single step, what is broken stays broken.

  A network trained against single steps alone may learn to be right at their end, and
  be wrong before it ("Understanding catastrophic overfitting in single-step adversarial
  training", Kim et al. 2021, Figure 1).
  """
  before = np.any([evidence.parts[part].broken for part in PARTS], 0)
  found = before & ~evidence.attacks["fgsm"].broken
  what = "that are broken on the way of the single step, and right at its end"
  return share(evidence, found, "one step turns back", what)


def one_step_alone(evidence: Evidence) -> Check:
  """Hardly anything breaks in one step, and hardly anything withstands many.

  The sign of catastrophic overfitting (Wong et al. 2020, section 5.4). Ordinary
  networks too withstand one step better than many, but not by half of their images.
  """
  one, many = evidence.attacks["fgsm"].broken, evidence.white_box
  what = "that withstand one step of eps (FGSM), and not many"
  return share(evidence, many & ~one, "one step alone", what)
