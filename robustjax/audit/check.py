"""Checks, what each proves, and the verdict that follows from them.

A check has a number, and fails where that is above a limit. Some prove that an
attack's success is too low: by another way in that it missed, or by gradients that
cannot lead anywhere. Where one of those fails, robustness is masked. The others are
signs, met with honest networks too, now and then: where one of them fails, the audit
is suspicious.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Verdict = Literal["clean", "suspicious", "masked", "not made"]

SHOWN = 10  # images that a check names, at most

# So many images may differ whatever the share, or one of 30 would be a proof.
CHANCE = 2

AUTOATTACK = "Croce & Hein 2020, a flag of the official code"
CARLINI = "Carlini et al. 2019"
PINTOR = "Pintor et al. 2022, indicators of attack failure"
ATHALYE = "Athalye et al. 2018"


class Rule(NamedTuple):
  """When a check fails, and what that means.

  Attributes:
    fails: the verdict of a check that fails.
    limit: the largest number that passes.
    source: of the check; the limit's too where it says so.
    share: whether the number is a share of the images, of which `CHANCE` may differ.
  """

  fails: Verdict
  limit: float
  source: str
  share: bool = True


# Name -> its rule, in the order of the page.
RULES: dict[str, Rule] = {
  # What the network answers.
  "finite logits": Rule("masked", 0.0, "ours", share=False),
  "permuted batch": Rule("masked", 1e-4, f"ours; limit: {AUTOATTACK}", share=False),
  "split batch": Rule("masked", 1e-4, f"ours; limit: {AUTOATTACK}", share=False),
  "repeated pass": Rule("masked", 1e-4, f"check, limit: {AUTOATTACK}", share=False),
  "attacked network": Rule("masked", 0.05, "ours", share=False),
  # Outputs of least squares add up to 1 too, and many of them lie in 0..1.
  "probabilities": Rule("suspicious", 0.9, f"{AUTOATTACK}; limit: ours"),
  "range of logits": Rule("suspicious", 0.05, f"{CARLINI}; limit: ours"),
  # Where the gradients lead.
  "zero gradients, ce": Rule("masked", 0.05, f"{AUTOATTACK}; limit: ours"),
  "zero gradients, margin": Rule("masked", 0.05, f"{AUTOATTACK}; limit: ours"),
  "zero gradients, dlr": Rule("masked", 0.05, f"{AUTOATTACK}; limit: ours"),
  "differences": Rule("suspicious", 0.2, "ours", share=False),
  "low precision": Rule("suspicious", 0.1, "ours"),
  # One attack against another.
  "scaled logits": Rule("masked", 0.05, f"{CARLINI}; limit: ours"),
  "margin loss": Rule("suspicious", 0.1, f"{CARLINI}; limit: ours"),
  "black box": Rule("masked", 0.02, f"{ATHALYE}, {CARLINI}; limit: ours"),
  "transfer": Rule("masked", 0.02, f"{CARLINI}; limit: ours"),
  "one step beats many": Rule("masked", 0.02, f"{ATHALYE}; limit: ours"),
  "one step turns back": Rule("suspicious", 0.1, "Kim et al. 2021; limit: ours"),
  "one step alone": Rule("suspicious", 0.5, "Wong et al. 2020; limit: ours"),
  # How far an attack gets.
  # Its limit is at least the share of the most frequent class.
  "largest eps": Rule("masked", 0.1, f"{ATHALYE}, {CARLINI}; limit: ours"),
  "rising eps": Rule("suspicious", 0.05, f"{CARLINI}; limit: ours"),
  "more steps": Rule("suspicious", 0.1, f"{CARLINI}, {PINTOR}; limit: ours"),
  "last iterate": Rule("suspicious", 0.1, f"{PINTOR}; limit: ours"),
  "within the ball": Rule("masked", 0.01, "ours, of the audit itself", share=False),
}


@dataclasses.dataclass(frozen=True)
class Check:
  """One check, made or not.

  Attributes:
    name: of `RULES`, or of a note.
    verdict: "clean", what its rule says where it fails, or "not made".
    number: what was measured; None if it was not made.
    limit: the largest number that passes; None of a note, which has none.
    what: the number in words, or why it was not made.
    images: the indices of images to look at, the worst first where there is an order.
  """

  name: str
  verdict: Verdict
  number: float | None
  limit: float | None
  what: str
  images: Sequence[int] = ()

  def as_json(self) -> dict[str, Any]:
    """As in audit.json."""
    return {**dataclasses.asdict(self), "images": [int(i) for i in self.images]}


def made(
  name: str,
  number: float,
  what: str,
  images: npt.ArrayLike = (),
  *,
  count: int | None = None,
  limit: float | None = None,
  fails: Verdict | None = None,
) -> Check:
  """A check by its rule.

  Args:
    name: of `RULES`.
    number: what was measured; NaN fails.
    what: in words.
    images: indices to look at.
    count: how many images a share is of, where the rule's number is one.
    limit: in place of the rule's.
    fails: in place of the rule's.
  """
  rule, number = RULES[name], float(number)
  limit = rule.limit if limit is None else limit
  if rule.share and count:
    limit = max(limit, CHANCE / count)
  # A share of exactly CHANCE images is no more than that, whatever its rounding.
  passes = number <= limit * (1 + 1e-9)
  shown = [int(i) for i in np.asarray(images).reshape(-1)[:SHOWN]]
  said = "clean" if passes else fails or rule.fails
  return Check(name, said, number, limit, what, shown)


def not_made(name: str, why: str) -> Check:
  """A check that could not be made."""
  return Check(name, "not made", None, RULES[name].limit, why)


def note(name: str, number: float, what: str) -> Check:
  """A number without a limit: it is no ground for a verdict."""
  return Check(name, "clean", float(number), None, what)


def verdict(checks: Sequence[Check]) -> Verdict:
  """The worst of all that were made."""
  found = {check.verdict for check in checks}
  worst: tuple[Verdict, ...] = ("masked", "suspicious")
  return next((verdict for verdict in worst if verdict in found), "clean")
