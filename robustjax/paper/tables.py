"""The published numbers of Xie & Yuille (arXiv:1906.03787), as data.

Differences that the paper prints, such as "+3.0", are typed as printed and resolved
against their base row here. Tables 3 and 7 and half of Table 1 reached us damaged: a
number that stands elsewhere in the copy was put back, a number that is missing was
taken from another table of the paper, and `notes.NOTES` says so for each, as it does
where the paper contradicts itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from robustjax.paper.rows import CLEAN, PGD_N, STRONGEST, Cell, Row, by_reading, row_of


@dataclass(frozen=True)
class Table:
  """A table of the paper, or a section's figures.

  Attributes:
    number: "1" to "7", or "4.4" for section 4.4.
    title: short.
    columns: the names of the other columns, in their order.
    readings: numbers of attack steps, in the order of the columns; 0 is clean.
    rows: in the paper's order; of a grid, one strategy after the other.
  """

  number: str
  title: str
  columns: tuple[str, ...]
  readings: tuple[int, ...]
  rows: tuple[Row, ...]


# At the paper's scale these settings are the same run as another.
SAME: Mapping[str, str] = {
  "batch_size_4096": "adv_star",
  "depth_152": "adv_star",
  "depth_152_clean": "clean",
  "alp_study_8": "alp",
  "alp_study_7": "alp_pgd10",
}


def _trained(strategy: str, pgd_n: int) -> str:
  """The setting of a strategy that is trained with PGD-N."""
  return strategy if pgd_n == PGD_N else f"{strategy}_pgd{pgd_n}"


def _table_2() -> Table:
  rows = []
  for setting, printed, gain in (
    ("adv", "39.2", "+3.0"),
    ("mbn", "38.3", "+1.6"),
    ("mbn_alp", "35.3", "+2.8"),
  ):
    base = row_of("2", setting, {STRONGEST: printed})
    rows += [base, row_of("2", f"{setting}_star", {STRONGEST: gain}, base=base)]
  title = "Running statistics in the last epochs"
  return Table("2", title, (), (STRONGEST,), tuple(rows))


def _table_1(table_2: Table) -> Table:
  others = {row.setting: row for row in table_2.rows}
  base = row_of("1", "clean", {CLEAN: "78.9"})
  rows = (
    base,
    row_of("1", "mbn", {CLEAN: "+0.4"}, branch="clean", base=base),
    row_of("1", "mbn_alp", {CLEAN: "-0.5"}, branch="clean", base=base),
    row_of("1", "adv", {STRONGEST: "39.2"}),
    row_of("1", "mbn", {STRONGEST: ""}, lost=others["mbn"]),
    row_of("1", "mbn_alp", {STRONGEST: ""}, lost=others["mbn_alp"]),
  )
  title = "Each branch of MBN beside a network of its own"
  return Table("1", title, (), (CLEAN, STRONGEST), rows)


# PGD-N, network, GPUs, start, optimizer, initial lr, decay; PGD-10 and PGD-2000.
_TABLE_3 = """
10 | ResNet-101 | 48  | cube 1.0            | RMSProp | 0.045 | exponential | 38.1 2.1
10 | ResNet-101 | 48  | cube 1.0            | RMSProp | 0.045 | step-wise   | 47.0 2.7
10 | ResNet-101 | 48  | cube 1.0            | RMSProp | 0.1   | step-wise   | 50.2 0.8
10 | ResNet-101 | 48  | cube 1.0            | M-SGD   | 0.1   | step-wise   | 48.2 0.7
10 | ResNet-101 | 48  | cube 0.8, clean 0.2 | M-SGD   | 0.1   | step-wise   | 47.0 ?
10 | ResNet-101 | 128 | cube 0.8, clean 0.2 | M-SGD   | 0.1   | step-wise   | 47.5 2.9
10 | ResNet-152 | 128 | cube 0.8, clean 0.2 | M-SGD   | 0.1   | step-wise   | 47.3 3.3
30 | ResNet-152 | 128 | cube 0.8, clean 0.2 | M-SGD   | 0.1   | step-wise   | 48.8 23.0
"""


def _table_3() -> Table:
  names = ("PGD-N", "network", "GPUs", "start", "optimizer", "initial lr", "decay")
  readings = (10, STRONGEST)
  rows = []
  for number, line in enumerate(_TABLE_3.strip().splitlines(), 1):
    *values, printed = (word.strip() for word in line.split("|"))
    columns = dict(zip(names, values, strict=True))
    setting = f"alp_study_{number}"
    rows.append(row_of("3", setting, by_reading(readings, printed), columns=columns))
  title = "ALP under different training parameters"
  return Table("3", title, names, readings, tuple(rows))


def _grid(
  number: str, pgd_ns: Sequence[int], printed: Mapping[str, str], relative: bool
) -> tuple[Row, ...]:
  """Rows of a grid of strategies and PGD-N.

  Args:
    number: of the table.
    pgd_ns: the attacks in training.
    printed: strategy -> a number for each of them.
    relative: whether a strategy's first number is the base of its others; otherwise a
      * number's base is the same without *.
  """
  rows: dict[str, Row] = {}
  for strategy, numbers in printed.items():
    for pgd_n, text in zip(pgd_ns, numbers.split(), strict=True):
      setting = _trained(strategy, pgd_n)
      base = strategy if relative else setting.replace("_star", "")
      columns = {"PGD-N": str(pgd_n)}
      rows[setting] = row_of(
        number, setting, {STRONGEST: text}, base=rows.get(base), columns=columns
      )
  return tuple(rows.values())


def _table_4() -> Table:
  printed = {
    "adv": "39.2 -1.0 -2.4 -3.3",
    "adv_clean": "20.9 -7.3 -17.7 -20.9",
    "alp": "23.0 -3.8 -19.7 -22.7",
    "mbn": "38.3 -4.2 -5.5 -7.1",
    "mbn_alp": "35.3 +0.5 -1.4 -2.4",
  }
  rows = _grid("4", (30, 20, 10, 5), printed, relative=True)
  return Table("4", "Steps of the attack in training", ("PGD-N",), (STRONGEST,), rows)


def _table_5() -> Table:
  printed = {
    "adv": "35.9 36.8 38.2 39.2",
    "adv_star": "+1.9 +2.4 +1.8 +3.0",
    "mbn": "31.2 32.8 34.1 38.3",
    "mbn_star": "+3.0 +3.3 +2.4 +1.6",
    "mbn_alp": "32.9 33.9 35.8 35.3",
    "mbn_alp_star": "+2.5 +2.8 +1.3 +2.8",
  }
  rows = _grid("5", (5, 10, 20, 30), printed, relative=False)
  title = "Running statistics in the last epochs, by the attack in training"
  return Table("5", title, ("PGD-N",), (STRONGEST,), rows)


def _table_6() -> Table:
  printed = {4096: "42.2", 512: "-0.2", 1024: "+0.9", 2048: "+1.1", 8192: "-0.3"}
  rows: list[Row] = []
  for batch, text in printed.items():
    columns = {"batch": str(batch)}
    base = rows[0] if rows else None
    setting = f"batch_size_{batch}"
    rows.append(row_of("6", setting, {STRONGEST: text}, base=base, columns=columns))
  return Table("6", "Batch size in training", ("batch",), (STRONGEST,), tuple(rows))


# Setting without the attack in training: clean, PGD-10, -20, -100, -500, -2000.
_TABLE_7_STRATEGIES = {
  30: {
    "alp": "73.5 48.8 46.3 34.1 27.3 23.0",
    "adv_clean": "78.0 56.2 53.0 35.6 26.6 20.9",
    "adv_clean_80": "77.4 56.8 54.6 39.6 28.7 20.3",
    "adv_clean_60": "75.5 54.6 52.1 40.3 23.5 15.3",
    "adv_clean_40": "73.9 54.1 51.5 40.2 33.6 29.1",
    "adv_clean_20": "68.0 54.6 51.5 40.6 34.6 32.1",
    "adv": "62.3 52.5 50.0 41.7 39.6 39.2",
    "adv_star": "62.1 52.4 50.3 43.9 42.6 42.2",
    "mbn": "64.4 51.8 49.1 40.9 38.8 38.3",
    "mbn_star": "64.2 52.5 50.0 42.1 40.5 39.9",
    "mbn_alp": "65.9 47.3 45.0 38.3 35.9 35.3",
    "mbn_alp_star": "64.3 49.0 47.2 40.4 38.6 38.1",
    "gn": "67.5 52.1 49.3 41.9 39.5 39.0",
  },
  20: {
    "alp": "72.7 50.1 47.6 33.4 25.2 19.2",
    "adv_clean": "78.4 55.9 52.5 31.7 20.0 13.6",
    "adv": "62.5 54.1 51.1 41.8 39.0 38.2",
    "adv_star": "65.4 53.9 51.0 42.7 40.8 40.0",
    "mbn": "67.9 52.8 49.9 39.3 35.5 34.1",
    "mbn_star": "67.2 52.7 49.9 40.2 37.2 36.5",
    "mbn_alp": "68.1 48.8 46.7 39.5 36.7 35.8",
    "mbn_alp_star": "67.4 50.0 47.7 40.3 37.4 37.1",
  },
  10: {
    "alp": "74.9 47.3 47.1 22.4 7.3 3.3",
    "adv_clean": "78.4 56.6 55.1 28.8 7.3 3.2",
    "adv": "66.0 53.6 50.9 41.1 38.0 36.8",
    "adv_star": "65.9 53.5 50.9 42.3 39.9 39.2",
    "mbn": "68.7 53.5 49.9 38.7 34.3 32.8",
    "mbn_star": "67.8 52.6 49.9 40.0 36.9 36.1",
    "mbn_alp": "68.7 49.0 46.8 38.9 35.4 33.9",
    "mbn_alp_star": "67.7 50.0 40.8 40.2 37.4 ?",
  },
  5: {
    "alp": "75.0 49.6 37.6 5.7 0.8 0.3",
    "adv_clean": "78.6 49.0 17.6 0.2 0.0 0.0",
    "adv": "67.0 54.0 50.5 40.7 37.5 35.9",
    "adv_star": "66.9 53.6 50.5 41.5 38.8 37.8",
    "mbn": "69.3 53.0 49.8 38.0 33.3 ?",
    "mbn_star": "68.9 53.0 49.8 39.8 35.9 34.2",
    "mbn_alp": "69.2 49.6 46.8 38.9 34.9 32.9",
    "mbn_alp_star": "69.2 50.4 48.3 40.3 37.0 35.4",
  },
}
# Setting, network, batch; the numbers as above.
_TABLE_7_STUDIES = """
batch_size_512  | ResNet-152 | 512  | 62.6 52.4 50.4 43.8 42.4 42.0
batch_size_1024 | ResNet-152 | 1024 | 63.1 53.3 51.0 44.6 43.5 43.1
batch_size_2048 | ResNet-152 | 2048 | 62.7 53.3 50.7 45.0 43.7 43.3
batch_size_8192 | ResNet-152 | 8196 | 61.8 52.1 49.8 43.4 42.3 41.9
depth_200       | ResNet-200 | 4096 | 63.5 53.8 51.4 45.1 43.9 43.8
depth_338       | ResNet-338 | 4096 | 65.4 55.5 53.2 46.6 45.1 44.6
depth_518       | ResNet-518 | 4096 | 66.7 56.7 54.4 48.1 46.4 46.2
depth_638       | ResNet-638 | 4096 | 67.2 57.2 54.8 48.7 47.1 46.7
"""


def _table_7(table_5: Table) -> Table:
  names = ("network", "batch", "PGD-N")
  readings = (CLEAN, 10, 20, 100, 500, STRONGEST)
  others = {row.setting: row for row in table_5.rows}
  rows = []
  for pgd_n, strategies in _TABLE_7_STRATEGIES.items():
    columns = dict(zip(names, ("ResNet-152", "4096", str(pgd_n)), strict=True))
    for strategy, numbers in strategies.items():
      setting = _trained(strategy, pgd_n)
      printed = by_reading(readings, numbers)
      lost = others.get(setting)
      rows.append(row_of("7", setting, printed, lost=lost, columns=columns))
  for line in _TABLE_7_STUDIES.strip().splitlines():
    setting, network, batch, numbers = (word.strip() for word in line.split("|"))
    columns = dict(zip(names, (network, batch, str(PGD_N)), strict=True))
    rows.append(row_of("7", setting, by_reading(readings, numbers), columns=columns))
  title = "Every network, clean and against attacks of more and more steps"
  return Table("7", title, names, readings, tuple(rows))


def _section_4_4() -> Table:
  rows = (
    row_of("4.4", "adv", {CLEAN: "62.3"}),
    row_of("4.4", "bn_finetune_to_clean", {CLEAN: "73"}),
    row_of("4.4", "bn_finetune_to_adv", {STRONGEST: "0"}),
    row_of("4.4", "mbn", {CLEAN: "64.4"}),
    row_of("4.4", "mbn_alp", {CLEAN: "65.9"}),
    row_of("4.4", "gn", {CLEAN: "67.5"}),
  )
  title = "BN fine-tuning, and what robustness costs in clean accuracy"
  return Table("4.4", title, (), (CLEAN, STRONGEST), rows)


def _tables() -> tuple[Table, ...]:
  table_2, table_5 = _table_2(), _table_5()
  return (
    _table_1(table_2), table_2, _table_3(), _table_4(), table_5, _table_6(),
    _table_7(table_5), _section_4_4(),
  )  # fmt: skip


TABLES: tuple[Table, ...] = _tables()
# Section 5: going from ResNet-152 to -338, the gain of clean training "is only 0.5%".
SECTION_5 = row_of(
  "section 5", "depth_338_clean", {CLEAN: "+0.5"}, base=TABLES[0].rows[0]
)


def find(setting: str, branch: str) -> dict[int, Cell]:
  """All that the tables, and section 5 on clean training, say about a run.

  Args:
    setting: of the run. One that is `SAME` as another has the other's numbers too.
    branch: that it is read through: "all", "adv" or "clean".

  Returns:
    Number of attack steps -> cell, in rising order; {} if nothing is published. Of
    several cells Table 7's, unless it is lost there.
  """
  name = SAME.get(setting, setting)
  fullest_first = sorted(TABLES, key=lambda table: -len(table.readings))
  rows = [row for table in fullest_first for row in table.rows]
  found: dict[int, Cell] = {}
  for row in [*rows, SECTION_5]:
    if (SAME.get(row.setting, row.setting), row.branch) != (name, branch):
      continue
    for reading, cell in row.cells.items():
      if reading not in found or (cell.printed and not found[reading].printed):
        found[reading] = cell
  return dict(sorted(found.items()))
