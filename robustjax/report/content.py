"""What the report says, from the runs' files: the values that report.jinja has."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustjax.paper import figures as published
from robustjax.paper import notes as published_notes
from robustjax.paper import settings
from robustjax.paper.tables import TABLES
from robustjax.report import conditions, figures, inside, robustness, runs, verdicts
from robustjax.report.comparison import compare
from robustjax.report.conditions import Condition, Other
from robustjax.report.document import Cell, Panel, Section, Table
from robustjax.report.numbers import attack, percent
from robustjax.report.runs import Run

MINI = "mini"  # the small scale
TITLE = "Intriguing properties of adversarial training: published and measured"


@dataclass(frozen=True)
class Content:
  """All that the report has to say, beside the template's own words.

  Attributes:
    summary: how many runs there are, and how far they have come.
    foreign: labels of the conditions that have runs and are not the paper's.
    miniature: what the settings of the small scale share, by dotted names; None if no
      run is of that scale.
    verdicts: a table for each condition that can judge a claim.
    tables: of the paper, by their numbers.
    robustness: runs against adaptive attacks; None if none was measured.
    pairs: a table for each condition with evaluations that are compared in pairs.
    sections: figures and images, in their order.
    runs: every run with its state; None if there is no run.
    others: (name, the rest) of runs that are no row of the paper.
    guesses: what no source settles -> names of the runs that depend on it.
    problems: damaged files, a line each.
    is_marked: whether a cell of a table may be marked for its guesses.
    notes: contradictions and repairs of the published numbers, in their order.
  """

  summary: str
  foreign: Sequence[str]
  miniature: Mapping[str, Any] | None
  verdicts: Sequence[Table]
  tables: Mapping[str, Table]
  robustness: Table | None
  pairs: Sequence[Table]
  sections: Sequence[Section]
  runs: Table | None
  others: Sequence[tuple[str, str]]
  guesses: Mapping[tuple[str, ...], Sequence[str]]
  problems: Sequence[str]
  is_marked: bool
  notes: Sequence[str]

  @property
  def panels(self) -> list[Panel]:
    """All pictures."""
    return [panel for section in self.sections for panel in section.panels]


def build(folders: Sequence[Path]) -> Content:
  """The report of the runs in some folders.

  Args:
    folders: searched at any depth.

  Returns:
    What it says. Damaged files are named in it.

  Raises:
    UserError: a folder cannot be read.
  """
  found, problems = runs.find(folders)
  groups, others = conditions.group(found)
  problems += conditions.twins(groups)
  notes = {key: number for number, key in enumerate(published_notes.NOTES, 1)}
  nets = inside.sections(groups, [other.run for other in others], problems)
  drawn = [figures.section(figure, groups, notes) for figure in published.FIGURES]
  used = [condition for condition in groups if condition.runs]
  cards = [run.card for run in found if run.card]
  is_mini = any(condition.scale == MINI for condition in used)
  return Content(
    summary=_summary(found, used, others),
    foreign=[condition.label for condition in used if not condition.is_paper],
    miniature=settings.defaults(MINI) if is_mini else None,
    verdicts=list(filter(None, map(verdicts.table, groups))),
    tables={t.number: compare(t, groups, notes, cards) for t in TABLES},
    robustness=robustness.table(found),
    pairs=list(filter(None, map(robustness.pairs, groups))),
    sections=sorted([*drawn, *nets], key=lambda section: section.title),
    runs=_runs(found) if found else None,
    others=[(other.run.name, _other(other)) for other in others],
    guesses=_guesses(found),
    problems=problems,
    is_marked=bool(_guesses([run for c in used for run in c.runs])),
    notes=list(published_notes.NOTES.values()),
  )


def _number(count: int) -> str:
  return f"{count} run{'' if count == 1 else 's'}"


def _summary(
  found: Sequence[Run], used: Sequence[Condition], others: Sequence[Other]
) -> str:
  text = "The published numbers of Xie & Yuille (arXiv:1906.03787) beside what "
  if not found:
    return text + "runs measured. No run was found: nothing measured."
  states = Counter(run.progress.state for run in found)
  words = {
    "complete": "complete",
    "evaluating": "being evaluated",
    "trained": "trained without a whole evaluation",
    "training": "in training",
    "empty": "not begun",
    "imported": "imported, not trained here",
  }
  counted = [
    f"{states[state]} {word}" for state, word in words.items() if states[state]
  ]
  within = [f"{c.label} ({_number(len(c.runs))})" for c in used]
  if others:
    within.append(f"{_number(len(others))} of no row of the paper")
  text += f"{_number(len(found))} measured: {', '.join(counted)}."
  text += f" Conditions: {'; '.join(within)}."
  if trained := [run for run in found if not run.weights]:
    furthest = max(trained, key=lambda run: run.progress.step)
    text += f" The furthest is {furthest.name}, at step {furthest.progress.step:,}."
  return text


def _runs(found: Sequence[Run]) -> Table:
  names = ("setting", "scale", "eps", "seed", "state", "step", "validation")
  head = [Cell("run", "label"), *map(Cell, (*names, "overrides"))]
  return Table("Every run that was found", head, [_run(run) for run in found])


def _run(run: Run) -> list[Cell]:
  validation = ", ".join(
    f"{name} {percent(rate)}" for name, rate in run.progress.validation.items()
  )
  eps = f"{run.eps:g}" if run.eps else "not said"
  if run.trained_eps != run.eps:
    eps += f", trained at {run.trained_eps:g}"
  texts = (run.setting, run.scale, eps, f"{run.seed}", run.progress.text)
  step = Cell(f"{run.progress.step:,}", "number")
  rest = map(Cell, (validation, _overrides(run.overrides)))
  return [Cell(run.name, "label", code=True), *map(Cell, texts), step, *rest]


def _overrides(overrides: Mapping[str, Any] | None) -> str:
  if overrides is None:
    return "not recorded"
  return ", ".join(f"{n}={_short(value)}" for n, value in sorted(overrides.items()))


def _short(value: Any) -> str:
  text = f"{value}"
  return text if len(text) <= 60 else f"{text[:60]}..."


def _other(other: Other) -> str:
  """What a run of no row is, why it is none, and what it measured."""
  run = other.run
  text = f"({run.setting}, {run.scale}, {run.progress.text}): {other.why}"
  rows = [
    f"{row.branch} {attack(row.steps)} {percent(row.correct / row.images)}"
    for row in (run.evaluation.rows if run.evaluation else ())
  ]
  return f"{text}; measured: {', '.join(rows)}" if rows else text


def _guesses(found: Sequence[Run]) -> dict[tuple[str, ...], list[str]]:
  names: dict[tuple[str, ...], list[str]] = {}
  for run in found:
    if run.evaluation and run.evaluation.guesses:
      names.setdefault(run.evaluation.guesses, []).append(run.name)
  return names
