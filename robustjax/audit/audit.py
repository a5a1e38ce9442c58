"""The audit of a network: evidence, checks, one verdict."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from robustjax.audit import answers, check, comparisons, curves, evidence, gradients
from robustjax.audit.programs import Array, Effort, Norm
from robustjax.errors import UserError
from robustjax.evaluation.network import Network


class Audit(NamedTuple):
  """What an audit found.

  Attributes:
    result: what audit.json holds: "verdict", "checks" and "identity".
    evidence: all that the checks looked at, for the page.
  """

  result: dict[str, Any]
  evidence: evidence.Evidence


def audit(
  network: Network,
  others: Sequence[Network],
  images: Array,
  labels: Array,
  indices: Array,
  *,
  eps: float,
  norm: Norm = "linf",
  seed: int = 0,
  identity: Mapping[str, Any] | None = None,
  targeted: bool = False,
  no_others: str = "there is no other network to make images on",
  mesh: Any = None,
  effort: Effort = Effort(),  # noqa: B008 - it is frozen
  say: Callable[[str], None] = lambda text: None,
) -> Audit:
  """Audits one branch of a network.

  Args:
    network: what is audited.
    others: networks whose adversarial images are tried on it: its other branch, or a
      run of the same data.
    images: [n, h, w, c], pixels in 0..255.
    labels: [n], the true classes.
    indices: [n], the places in the data set: an image's randomness follows from its
      index and the seed.
    eps: of 255, above 0.
    norm: "linf" or "l2".
    seed: of the randomness.
    identity: what else the result is of: "data", "split", "step".
    targeted: whether the readings that there are of this network come from targeted
      attacks alone, which a note then says.
    no_others: why there are no others, if there are none.
    mesh: from `parallel.mesh`; by default of this process's devices.
    effort: how much it does.
    say: is told what comes next.

  Raises:
    UserError: there is nothing to attack: hardly an image is classified rightly.
  """
  if eps <= 0:
    raise UserError(f"eps is {eps:g}: an audit needs one above 0")
  found = evidence.gather(
    network, others, images, labels, indices,
    eps=eps, norm=norm, seed=seed, mesh=mesh, effort=effort, say=say,
  )  # fmt: skip
  checks = all_checks(found, no_others)
  if targeted and found.count:
    checks.append(targeted_readings(found))
  result = {
    "verdict": check.verdict(checks),
    "checks": [one.as_json() for one in checks],
    "identity": {
      "network": network.name,
      "branch": network.branch,
      "norm": norm,
      "eps": eps,
      "images": len(found.labels),
      "seed": seed,
      **network.precision,
      **(identity or {}),
    },
  }
  return Audit(result, found)


def all_checks(found: evidence.Evidence, no_others: str = "") -> list[check.Check]:
  """All checks, in the order of `check.RULES`.

  Where no more than `check.CHANCE` images are classified rightly, no share of them can
  fail: those checks are not made, and it is an error if the network's answers gave no
  reason for it.

  Raises:
    UserError: so few images are classified rightly, though all logits are finite.
  """
  of_answers = answers.checks(found.answers)
  if found.count > check.CHANCE:
    return [
      *of_answers,
      *gradients.checks(found),
      *comparisons.checks(found, no_others),
      *curves.checks(found),
    ]
  if check.verdict(of_answers) == "clean":
    raise UserError(
      f"{found.count or 'none'} of {len(found.labels)} images is classified rightly,"
      " too few for a verdict: are the data, the order of the classes and the range of"
      " the pixels (0 to 255) the network's? Otherwise ask for more with --images"
    )
  missing = list(check.RULES)[len(of_answers) :]
  why = "too few images are classified rightly"
  return [*of_answers, *(check.not_made(name, why) for name in missing)]


def targeted_readings(found: evidence.Evidence) -> check.Check:
  """A note: a random target is one way out of many, and says little of robustness."""
  targeted = found.right & ~found.attacks["pgd-target"].broken
  least = found.right & ~found.white_box
  number = (int(targeted.sum()) - int(least.sum())) / len(found.labels)
  what = (
    "note: this network's readings are of random targets alone, and no robustness;"
    f" accuracy here {np.mean(targeted):.1%} against such targets,"
    f" {np.mean(least):.1%} against any class"
  )
  return check.note("targeted readings", number, what)
