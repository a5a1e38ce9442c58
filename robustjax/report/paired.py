"""Two evaluations compared image by image, from the ledgers that they left."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from robustjax.errors import UserError
from robustjax.report.checked import Damaged, each, get, read_lines, short
from robustjax.report.document import clean
from robustjax.report.intervals import newcombe_paired


class Image(NamedTuple):
  """What a ledger says of an image.

  Attributes:
    label: its class.
    clean: whether the network is right without an attack.
    broken_by: the attack after which it is wrong; None if none was, or none was tried.
  """

  label: int
  clean: bool
  broken_by: str | None

  @property
  def robust(self) -> bool:
    """Whether the network is right, and no attack changed that."""
    return self.clean and self.broken_by is None


Ledger = Mapping[int, Image]  # index in the data set -> what happened


class Pair(NamedTuple):
  """Two networks, or two attacks on one, on the same images.

  Attributes:
    images: in both ledgers.
    both: robust in both.
    one: robust in the first alone.
    other: robust in the second alone.
  """

  images: int
  both: int
  one: int
  other: int

  @property
  def difference(self) -> float:
    """Of the two accuracies, the first minus the second: -1..1."""
    return (self.one - self.other) / self.images

  @property
  def interval(self) -> tuple[float, float]:
    """Of the difference, 95 %: Newcombe's for the same images."""
    neither = self.images - self.both - self.one - self.other
    return newcombe_paired(self.both, self.one, self.other, neither)

  @property
  def p(self) -> float:
    """McNemar's test, exact and two-sided.

    How likely a split of the images that differ is that is at least as uneven, if each
    of them falls to either side like a fair coin; 1 if none differs.
    """
    differ = self.one + self.other
    term = tail = 1  # binomial coefficients, whole numbers of any length
    for k in range(min(self.one, self.other)):
      term = term * (differ - k) // (k + 1)
      tail += term
    return min(1.0, 2 * tail / 2**differ)


def mcnemar(one: Ledger, other: Ledger) -> Pair:
  """Compares two ledgers.

  Args:
    one: of at least one image.
    other: of the same images, in any order.

  Returns:
    How many images are robust in both and in each alone.

  Raises:
    UserError: they are of different images.
  """
  if not same_images(one, other):
    raise UserError("the ledgers are of different images: evaluate both on the same")
  found = [(one[i].robust, other[i].robust) for i in one]
  counts = (found.count(x) for x in ((True, True), (True, False), (False, True)))
  return Pair(len(found), *counts)


def union(ledgers: Sequence[Ledger]) -> Ledger:
  """All attacks on a network together: an image is robust if it is in every ledger.

  Args:
    ledgers: at least one, of one network on the same images.

  Returns:
    A ledger that names the first attack of the first ledger that broke an image.

  Raises:
    UserError: they are of different images or networks.
  """
  first, *others = ledgers
  found = dict(first)
  for other in others:
    if not same_images(first, other) or any(
      first[i].clean != other[i].clean for i in first
    ):
      raise UserError("the ledgers are of different images or networks")
    found = {i: other[i] if image.robust else image for i, image in found.items()}
  return found


def gain(ledgers: Sequence[Ledger]) -> list[int]:
  """How many images each ledger breaks that those before it left robust.

  Args:
    ledgers: as those of `union`.

  Returns:
    A number for each ledger.
  """
  right = [
    sum(image.robust for image in union(ledgers[: n + 1]).values())
    for n in range(len(ledgers))
  ]
  clean = sum(image.clean for image in ledgers[0].values())
  return [before - left for before, left in itertools.pairwise([clean, *right])]


def same_images(one: Ledger, other: Ledger) -> bool:
  """Whether two ledgers are of the same images, as far as they know them."""
  same = one.keys() == other.keys()
  return same and all(one[i].label == other[i].label for i in one)


def read_ledger(path: Path) -> dict[int, Image]:
  """What images.jsonl says; {} without the file.

  A last line that a kill cut short is left out.

  Raises:
    Damaged: a line is no image's, or an image is there twice.
  """
  lines = each(read_lines(path, finite=True), _image, "line")
  found = dict(lines)
  if len(found) < len(lines):
    raise Damaged("an image is there twice")
  return found


def _image(value: Any) -> tuple[int, Image]:
  index, label = get(value, "index", int), get(value, "label", int)
  right = get(value, "clean", bool)
  if right != (get(value, "prediction", int) == label):
    raise Damaged(f"its clean is {right}, its prediction {value['prediction']}")
  broken_by = None
  if value.get("broken_by") is not None:
    broken_by = clean(get(value, "broken_by", str))
    if not right:
      raise Damaged(f"it is wrong when clean, and broken by {short(broken_by)}")
  return index, Image(label, right, broken_by)
