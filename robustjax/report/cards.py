"""What was measured of a published network beside its card: card.json, checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from robustjax.paper.rows import Row
from robustjax.report.checked import Damaged, each, get, read_json
from robustjax.report.document import Cell, clean
from robustjax.report.intervals import wilson
from robustjax.report.numbers import attack, percent, span

CARD = "card.json"
SOURCE = "published weights, measured here"
_EPS = 16.0  # paper section 3: of all its tables
_PROTOCOL = "pgd-random"


class Reading(NamedTuple):
  """A measured accuracy.

  Attributes:
    correct: of the images.
    images: that were counted.
    agrees: whether it is what was published; None if nothing was.
  """

  correct: int
  images: int
  agrees: bool | None


@dataclass(frozen=True)
class Card:
  """A published network, measured here.

  Attributes:
    title: its name.
    setting: of the row of the paper that it is; "" if of none.
    readings: number of steps of the paper's attack -> accuracy; 0 is clean.
  """

  title: str
  setting: str
  readings: Mapping[int, Reading]

  def is_of(self, row: Row) -> bool:
    """Whether it is the network of a row of the paper."""
    return (self.setting, "all") == (row.setting, row.branch)

  def line(self, readings: Sequence[int]) -> tuple[list[Cell], list[str]]:
    """Its line of a table with a column for each reading, and the counts behind it."""
    cells, counts = [Cell(SOURCE, "text source paper", small=(self.title,))], []
    for steps in readings:
      found = self.readings.get(steps)
      if found is None:
        cells.append(Cell("not read", "missing paper"))
        continue
      rate = percent(found.correct / found.images)
      counted = f"{found.correct:,} of {found.images:,} images"
      counts.append(f"{attack(steps)}, {SOURCE}: {rate}, {counted}")
      small = [span(wilson(found.correct, found.images))]
      small += ["not reproduced"] if found.agrees is False else []
      cells.append(Cell(rate, "paper", f"{attack(steps)}: {counted}", small=small))
    return cells, counts


def read_card(path: Path) -> Card | None:
  """What card.json says, or None without the file.

  Raises:
    Damaged: it does not hold what it should.
  """
  found = read_json(path, finite=True)
  if found is None and not path.exists():
    return None
  title, setting = (clean(get(found, name, str)) for name in ("title", "setting"))
  rows = [row for row in each(get(found, "rows", list), _row, "row") if row]
  readings = dict(rows)
  if len(readings) < len(rows):
    raise Damaged("a reading is there twice")
  return Card(title, setting, readings)


def _row(value: Any) -> tuple[int, Reading] | None:
  """A row of the paper's protocol; None of another attack."""
  attack, steps = get(value, "attack", str), get(value, "steps", int)
  correct, images = get(value, "correct", int), get(value, "images", int)
  if not images >= 1 or correct > images:
    raise Damaged(f"{correct} correct of {images} images")
  agrees = value.get("agrees")
  if agrees is not None:
    agrees = get(value, "agrees", bool)
  of_paper = attack == _PROTOCOL and steps > 0 and get(value, "eps", float) == _EPS
  if not of_paper and not (attack == "none" and steps == 0):
    return None
  return steps, Reading(correct, images, agrees)
