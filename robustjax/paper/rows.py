"""A row of a table: what is printed, as numbers, with its notes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from robustjax.paper.notes import NOTED

CLEAN = 0  # the reading without an attack
STRONGEST = 2000  # section 3 calls the accuracy against PGD-2000 robustness
PGD_N = 30  # section 3: the attack in training, unless a table says otherwise
# Stands by every table and picture of such numbers.
TARGETED = (
  "PGD-N is targeted PGD with random targets: the paper's protocol, no measure of"
  " robustness."
)


class Cell(NamedTuple):
  """A published accuracy.

  Attributes:
    value: in percent, absolute; None if it is neither printed nor derivable.
    printed: as the paper prints it, such as "39.2" or "+3.0"; "" if the cell is lost.
    notes: keys of `notes.NOTES`.
  """

  value: float | None
  printed: str
  notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
  """A row of a table: one run, read through one branch.

  Attributes:
    label: the strategy as the paper names it.
    setting: of the run.
    branch: "all", "adv" or "clean".
    cells: number of attack steps -> accuracy; 0 is clean accuracy. What the paper
      does not print is not a key, unless it printed it and it is lost.
    columns: the table's other columns as printed.
    notes: keys of `notes.NOTES`, on the whole row.
  """

  label: str
  setting: str
  branch: str
  cells: Mapping[int, Cell]
  columns: Mapping[str, str] = field(default_factory=dict)
  notes: tuple[str, ...] = ()


_LABELS = {
  "clean": "0% adv + 100% clean",
  "adv": "100% adv + 0% clean",
  "adv_clean": "100% adv + 100% clean",
  "adv_clean_80": "100% adv + 80% clean",
  "adv_clean_60": "100% adv + 60% clean",
  "adv_clean_40": "100% adv + 40% clean",
  "adv_clean_20": "100% adv + 20% clean",
  "alp": "100% adv + 100% clean, ALP",
  "mbn": "100% adv + 100% clean",
  "mbn_alp": "100% adv + 100% clean, ALP",
  "gn": "GN, 100% adv + 100% clean",
  "bn_finetune_to_clean": "100% adv + 0% clean, BNs finetuned on clean images",
  "bn_finetune_to_adv": "0% adv + 100% clean, BNs finetuned on adversarial images",
}


def label_of(setting: str, branch: str) -> str:
  """The strategy of a setting as the paper names it, read through a branch."""
  study = re.match(r"(alp_study|batch_size|depth)_\d+(_clean)?$", setting)
  if study:
    setting = "alp" if study[1] == "alp_study" else "clean" if study[2] else "adv_star"
  strategy = re.sub(r"(_star)?(_pgd\d+)?$", "", setting)
  norm = f"MBN_{branch}, " if strategy.startswith("mbn") else ""
  return norm + _LABELS[strategy] + "*" * ("_star" in setting)


def row_of(
  table: str,
  setting: str,
  printed: Mapping[int, str],
  *,
  branch: str = "",
  base: Row | None = None,
  lost: Row | None = None,
  columns: Mapping[str, str] | None = None,
) -> Row:
  """A row from what is printed.

  Args:
    table: its number.
    setting: of the run.
    printed: reading -> what the table prints, "" if that is lost.
    branch: "all", or "adv" of MBN, unless it is said.
    base: of the differences, those numbers that have a sign.
    lost: has the numbers that are lost here.
    columns: the other columns.

  Returns:
    The row with its notes.
  """
  branch = branch or ("adv" if setting.startswith("mbn") else "all")
  cells = {}
  for reading, text in printed.items():
    value = None
    if text.startswith(("+", "-")) and base:
      value = round((base.cells[reading].value or 0.0) + float(text), 1)
    elif text:
      value = float(text)
    elif lost:
      value = lost.cells[reading].value
    cells[reading] = Cell(value, text, NOTED.get((table, setting, reading), ()))
  notes = NOTED.get((table, setting, None), ())
  return Row(label_of(setting, branch), setting, branch, cells, columns or {}, notes)


def by_reading(readings: Sequence[int], printed: str) -> dict[int, str]:
  """Words of a printed row, "?" for a lost cell -> by reading."""
  words = ["" if word == "?" else word for word in printed.split()]
  return dict(zip(readings, words, strict=True))
