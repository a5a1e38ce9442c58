"""Acceptance cards: what a published network must score, and whether it does."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from robustjax.config import shipped
from robustjax.errors import UserError
from robustjax.report.intervals import wilson

# Normal quantile of a two-sided 99.9 %: of a thousand networks that are what they
# should be, one is called another by the choice of its images.
_Z = 3.29


class Number(NamedTuple):
  """A published accuracy.

  Attributes:
    attack: "none", "pgd-random" or "standard".
    accuracy: in %.
    steps: of pgd-random; 0 of the others.
    target_hits: images that are taken for their target, in %, if it is known.
  """

  attack: str
  accuracy: float
  steps: int = 0
  target_hits: float | None = None

  @property
  def name(self) -> str:
    """For a person."""
    pgd = f"targeted PGD-{self.steps}"
    return {"none": "clean", "pgd-random": pgd}.get(self.attack, self.attack)


@dataclass(frozen=True)
class Card:
  """What a published network is, and what it must score.

  Attributes:
    word: its name on the command line, as "experiments/published.py:fd_resnet152".
    title: for a person.
    file: of its weights, as it is published.
    where: it is published.
    source: of the numbers.
    images: how many the numbers are of.
    which: those images, in words.
    eps: of 255, L-infinity.
    clean: without an attack.
    attacked: the other numbers, of one attack.
    tolerance: in points: a number that is no further away is reproduced, on the same
      images.
    reason: of the tolerance.
    licence: of the weights, if it is known.
    setting: of the row of the paper's Table 7 that this network is; "" if of none.
    ids: a published list of those images for --ids, if they are not all of the split.
    flags: of the import, with a blank before each.
  """

  word: str
  title: str
  file: str
  where: str
  source: str
  images: int
  which: str
  eps: float
  clean: Number
  attacked: tuple[Number, ...]
  tolerance: float
  reason: str
  licence: str = ""
  setting: str = ""
  ids: str = ""
  flags: str = ""

  @property
  def attack(self) -> str:
    """The word of --attack that its numbers are of."""
    return self.attacked[0].attack

  @property
  def steps(self) -> tuple[int, ...]:
    """Those of pgd-random; () for another attack."""
    return tuple(number.steps for number in self.attacked if number.steps)


FILE = "experiments/published.py"


class Verdict(NamedTuple):
  """A measured number beside the published one.

  Attributes:
    agrees: whether it is reproduced, or on other images not contradicted.
    text: in words, behind the number's name.
  """

  agrees: bool
  text: str


def judge(
  card: Card, published: float, correct: int, images: int, same: bool
) -> Verdict:
  """Compares a rate with a published one.

  Args:
    card: of both.
    published: in %.
    correct: of the images.
    images: that were counted.
    same: whether they are the card's images. Otherwise the published rate must lie in
      a 99.9 % Wilson interval: of as many images as make the measured rate as uncertain
      as two samples are together.
  """
  rate, tolerance = 100 * correct / images, card.tolerance + 1e-9
  text = f"{rate:.1f} %, published {published:g}"
  off = rate - published
  by = f"{abs(off):.1f} points {'below' if off < 0 else 'above'}"
  if same:
    if abs(off) <= tolerance:
      return Verdict(True, f"{text}: reproduced (within {card.tolerance:g} points)")
    return Verdict(False, f"not reproduced: {text}: {by}")
  effective = 1 / (1 / images + 1 / card.images)
  low, high = (100 * b for b in wilson(rate / 100 * effective, effective, _Z))
  about = f"99.9 % interval of {images:,} images {low:.1f} to {high:.1f}"
  if low - tolerance <= published <= high + tolerance:
    return Verdict(True, f"{text}: not contradicted ({about})")
  return Verdict(False, f"not reproduced: {text}: {by} ({about})")


def find(card: Card, attack: str, steps: int, eps: float) -> Number | None:
  """What is published of an attack, if anything is."""
  if eps != card.eps:
    return None
  known: Sequence[Number] = card.attacked
  return next((n for n in known if (n.attack, n.steps) == (attack, steps)), None)


def load(name: str) -> Card:
  """The card that "FILE:word" names; FILE may be the name of what comes along.

  Raises:
    UserError: there is no such file, or no such card in it.
  """
  said, _, word = name.partition(":")
  path = shipped.find(said, "get_card")
  spec = importlib.util.spec_from_file_location(path.stem, path)
  assert spec and spec.loader
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except Exception as error:  # whatever a file may hold
    raise UserError(f"{path}: {type(error).__name__}: {error}") from error
  if not hasattr(module, "get_card"):
    raise UserError(f"{path} has no get_card(word): cards are in --card={FILE}:WORD")
  card = module.get_card(word)
  if not isinstance(card, Card):
    raise UserError(f"{path}: get_card({word!r}) is no robustjax.evaluate.cards.Card")
  return card
