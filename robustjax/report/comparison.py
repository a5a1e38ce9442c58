"""The paper's tables: each published number beside what the runs measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from robustjax.paper import tables as paper
from robustjax.paper.rows import TARGETED, Row
from robustjax.paper.rows import Cell as Published
from robustjax.report.cards import Card
from robustjax.report.conditions import NOT_RUN, PAPER_SCALE, Condition, Measurement
from robustjax.report.document import Cell, Table
from robustjax.report.numbers import attack, percent, span
from robustjax.report.suites import VERDICTS


@dataclass(frozen=True)
class Found:
  """A measured cell: the number, and how many steps it was read after.

  Attributes:
    measurement: None if there is no number.
    reading: of the number.
    instead: whether that is not the reading asked for.
    why: what the cell says without a number.
  """

  measurement: Measurement | None
  reading: int
  instead: bool = False
  why: str = ""


def look_up(
  condition: Condition, setting: str, branch: str, reading: int, last: bool
) -> Found:
  """What a condition's runs say to a published number.

  Args:
    condition: of the runs.
    setting: of the row.
    branch: that the row is read through.
    reading: of the published number.
    last: whether that is the strongest attack of the row: then the strongest attack
      that was measured may stand in, and is named.

  Returns:
    The number, or why there is none.
  """
  same = names(condition, setting)
  for name in same:
    measured = condition.measure(name, branch, reading)
    if measured:
      return Found(measured, reading)
  for name in same if last and reading else []:
    strongest = max(condition.readings(name, branch), default=0)
    measured = condition.measure(name, branch, strongest)
    if measured and strongest:
      return Found(measured, strongest, instead=True)
  states = (condition.state(name) for name in same)
  why = next((state for state in states if state != NOT_RUN), NOT_RUN)
  return Found(None, reading, why=why)


def names(condition: Condition, setting: str) -> list[str]:
  """A setting and those that are the same run at the condition's scale."""
  if condition.scale != PAPER_SCALE:
    return [setting]
  first = paper.SAME.get(setting, setting)
  others = [name for name, other in paper.SAME.items() if other == first]
  return list(dict.fromkeys([setting, first, *others]))


def counts(measured: Measurement) -> str:
  """What was counted, run by run."""
  return "; ".join(
    f"{row.correct:,} of {row.images:,} images ({run.name}, seed {run.seed})"
    for row, run in zip(measured.rows, measured.runs, strict=True)
  )


def kind(condition: Condition) -> str:
  """How a condition's cells and pictures are tinted."""
  return "paper" if condition.is_paper else "other"


def compare(
  table: paper.Table,
  conditions: Sequence[Condition],
  notes: Mapping[str, int],
  cards: Sequence[Card] = (),
) -> Table:
  """A table of the paper, published and measured, with the counts behind it.

  Args:
    table: from `paper.tables.TABLES`.
    conditions: the paper's first. Others appear if they have runs of these rows.
    notes: a key of `paper.notes.NOTES` -> its number.
    cards: published networks that were measured; each has a line where a row does.

  Returns:
    A table with one number a row has a column for each condition, one with several a
    line.
  """
  shown = [c for c in conditions if c.is_paper or _has_runs(c, table)]
  writer = _Writer(table, shown, notes, cards)
  single = all(len(row.cells) == 1 for row in table.rows)
  return writer.columns() if single else writer.lines()


def _has_runs(condition: Condition, table: paper.Table) -> bool:
  return any(
    condition.of(name) for row in table.rows for name in names(condition, row.setting)
  )


class _Writer:
  """Writes one table and remembers the counts of its cells."""

  def __init__(
    self,
    table: paper.Table,
    conditions: Sequence[Condition],
    notes: Mapping[str, int],
    cards: Sequence[Card],
  ):
    self._table = table
    self._cards = cards
    self._conditions = conditions
    self._notes = notes
    self._counts: dict[str, None] = {}

  def columns(self) -> Table:
    """Published and each condition side by side."""
    table = self._table
    readings = {reading for row in table.rows for reading in row.cells}
    named = len(readings) > 1  # otherwise the caption says it
    head = [Cell("setting", "label"), *map(Cell, table.columns)]
    head += [Cell("against")] if named else []
    head += [Cell("published", "published")]
    head += [Cell(f"measured: {c.label}", kind(c)) for c in self._conditions]
    body = []
    for row in table.rows:
      ((reading, cell),) = row.cells.items()
      line = [Cell(row.label, "label", notes=self._numbers(row.notes))]
      line += [Cell(row.columns.get(name, "")) for name in table.columns]
      line += [Cell(attack(reading))] if named else []
      line += [self._published(cell)]
      line += [self._measured(row, c, reading) for c in self._conditions]
      body.append(line)
    against = "" if named else f" {_against(readings)}"
    caption = f"{table.title}. Accuracy{against} in %. {TARGETED}"
    return Table(caption, head, body, folded=self._folded())

  def lines(self) -> Table:
    """Published above each condition, a column for each reading."""
    table = self._table
    shown = [c for c in self._conditions if _has_runs(c, table)]
    head = [Cell("setting", "label"), Cell("source")]
    head += [Cell(attack(reading), "published") for reading in table.readings]
    body: list[Sequence[Cell]] = []
    for row in table.rows:
      own = [card for card in self._cards if card.is_of(row)]
      # In the name's cell they leave a telephone room for numbers.
      rest = ", ".join(f"{name} {value}" for name, value in row.columns.items())
      name = Cell(
        row.label,
        "label",
        notes=self._numbers(row.notes),
        small=(rest,) if rest else (),
        rows=1 + len(shown) + len(own),
      )
      line = [name, Cell("published", "text source")]
      line += [self._published(row.cells.get(reading)) for reading in table.readings]
      body.append(line)
      body += [self._line(row, condition) for condition in shown]
      for card in own:
        cells, counted = card.line(table.readings)
        body.append(cells)
        self._counts |= dict.fromkeys(f"{row.label}, {text}" for text in counted)
    absent = "; ".join(c.label for c in self._conditions if c not in shown)
    below = f"Not run: {absent}." if absent else ""
    caption = f"{table.title}. Accuracy in %. {TARGETED}"
    return Table(caption, head, body, below, self._folded())

  def _line(self, row: Row, condition: Condition) -> Sequence[Cell]:
    source = Cell(condition.label, f"text source {kind(condition)}")
    cells = [
      self._measured(row, condition, reading)
      if reading in row.cells
      else Cell(kind=kind(condition))
      for reading in self._table.readings
    ]
    texts = {cell.text for cell in cells if "missing" in cell.kind}
    if len(texts) == 1 and all("missing" in cell.kind for cell in cells):
      missing = f"text missing {kind(condition)}"
      return source, Cell(texts.pop(), missing, columns=len(cells))
    return source, *cells

  def _numbers(self, keys: Sequence[str]) -> list[int]:
    return [self._notes[key] for key in keys if key in self._notes]

  def _published(self, cell: Published | None) -> Cell:
    if cell is None:
      return Cell(kind="published")
    notes = self._numbers(cell.notes)
    if cell.value is None:
      return Cell(cell.printed or "lost", "published missing", notes=notes)
    if not cell.printed.startswith(("+", "-")):
      return Cell(cell.printed or f"{cell.value:.1f}", "published", notes=notes)
    printed = (f"printed {cell.printed}",)
    return Cell(f"{cell.value:.1f}", "published", notes=notes, small=printed)

  def _measured(self, row: Row, condition: Condition, reading: int) -> Cell:
    last = reading == max(row.cells)
    found = look_up(condition, row.setting, row.branch, reading, last)
    measured = found.measurement
    if measured is None:
      return Cell(found.why, f"missing {kind(condition)}")
    rate, read, counted = (
      percent(measured.mean),
      attack(found.reading),
      counts(measured),
    )
    beside = robustness(measured, row.branch) if last and reading else ()
    self._counts[f"{row.label}, {read}, {condition.label}: {rate}, {counted}"] = None
    return Cell(
      f"{rate} at {read}" if found.instead else rate,
      kind(condition),
      f"{read}: {counted}",
      guesses=", ".join(measured.guesses),
      small=[*spread(measured), *beside],
    )

  def _folded(self) -> dict[str, list[str]]:
    number = len(self._counts)
    cells = "1 number" if number == 1 else f"{number} numbers"
    return {f"Counts behind {cells}": list(self._counts)} if number else {}


def spread(measured: Measurement) -> Iterator[str]:
  """The interval, and the range over several runs, in %."""
  yield span(measured.count.interval)
  if len(measured.runs) > 1:
    bounds = min(measured.rates), max(measured.rates)
    yield f"{len(measured.runs)} runs: {span(bounds)}"


def robustness(measured: Measurement, branch: str) -> Iterator[str]:
  """What "standard" left of the same runs, and the worst verdict of their audits."""
  found = [suite for run in measured.runs if (suite := run.standard(branch))]
  if found:
    mean = sum(suite.robust / suite.images for suite in found) / len(found)
    images = min(suite.images for suite in found)
    few = images < min(row.images for row in measured.rows)
    of = f" of {images:,} images" if few else ""
    of += f", {len(found)} of {len(measured.runs)} runs" * (len(measured.runs) > 1)
    yield f"standard: {percent(mean)}{of}"
  verdicts = {audit.verdict for run in measured.runs if (audit := run.audit(branch))}
  if verdicts:
    yield f"audit: {max(verdicts, key=VERDICTS.index)}"


def _against(readings: set[int]) -> str:
  (reading,) = readings
  return f"against {attack(reading)}" if reading else "of clean images"
