"""What the report says, from the runs' files: the values that report.jinja has."""

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from robustjax.errors import UserError
from robustjax.paper import figures as published
from robustjax.paper import notes as published_notes
from robustjax.paper import settings
from robustjax.paper.tables import TABLES
from robustjax.report import anatomy, conditions, figures, files, runs, verdicts
from robustjax.report.comparison import attack, compare, kind, percent
from robustjax.report.conditions import Condition, Other
from robustjax.report.document import Cell, Panel, Section, Table, clean
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
  nets = inside(groups, [other.run for other in others], problems)
  drawn = [figures.section(figure, groups, notes) for figure in published.FIGURES]
  used = [condition for condition in groups if condition.runs]
  is_mini = any(condition.scale == MINI for condition in used)
  return Content(
    summary=_summary(found, used, others),
    foreign=[condition.label for condition in used if not condition.is_paper],
    miniature=settings.defaults(MINI) if is_mini else None,
    verdicts=list(filter(None, map(verdicts.table, groups))),
    tables={t.number: compare(t, groups, notes) for t in TABLES},
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
  }
  counted = [
    f"{states[state]} {word}" for state, word in words.items() if states[state]
  ]
  within = [f"{c.label} ({_number(len(c.runs))})" for c in used]
  if others:
    within.append(f"{_number(len(others))} of no row of the paper")
  furthest = max(found, key=lambda run: run.progress.step)
  return (
    f"{text}{_number(len(found))} measured: {', '.join(counted)}."
    f" Conditions: {'; '.join(within)}."
    f" The furthest is {furthest.name}, at step {furthest.progress.step:,}."
  )


def _runs(found: Sequence[Run]) -> Table:
  names = ("setting", "scale", "eps", "seed", "state", "step", "validation")
  head = [Cell("run", "label"), *map(Cell, (*names, "overrides"))]
  return Table("Every run that was found", head, [_run(run) for run in found])


def _run(run: Run) -> list[Cell]:
  validation = ", ".join(
    f"{name} {percent(rate)}" for name, rate in run.progress.validation.items()
  )
  eps = f"{run.eps:g}"
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


def inside(
  conditions: Sequence[Condition], others: Sequence[Run], problems: list[str]
) -> list[Section]:
  """Figures 5 and 6 and the images, of the runs that have the files.

  Args:
    conditions: with their runs.
    others: runs of no row, whose files are checked alone.
    problems: a line is added for each file that is damaged or cannot be drawn.

  Returns:
    Those that have a picture.
  """
  read = [
    {file: _read(runs, file, problems) for file in files.INSPECTED}
    for runs in (*(condition.runs for condition in conditions), others)
  ]

  def section(
    title: str, caption: str, file: str, draw: Any, settings: Sequence[str], most: int
  ) -> Section:
    panels = []
    for number, condition in enumerate(conditions, 1):
      drawn = _drawn(read[number - 1][file], file, draw, settings, problems)
      for i, (run, figure, words) in enumerate(itertools.islice(drawn, most), 1):
        name = f"{title.lower().replace(' ', '-')}-condition-{number}-{i}"
        head = f"measured: {condition.label}: {run.name}"
        alt = f"{title}, {head}. {words}"
        panels.append(Panel(name, figure, head, alt, kind(condition), wide=True))
    return Section(title, caption, panels)

  # Figure 5 compares MBN's branches, Figure 6 is of 100% adv + 0% clean.
  found = (
    section(
      "Figure 5",
      "Running mean and variance of MBN's two branches, at some channels of one layer."
      " The paper prints a picture and no numbers.",
      files.STATISTICS,
      anatomy.running_figure,
      ("mbn", "mbn_alp", "mbn_star", "mbn_alp_star"),
      most=1,
    ),
    section(
      "Figure 6",
      "Running statistics beside those of two batches, 100% adv + 0% clean. The paper"
      " prints a picture and no numbers.",
      files.STATISTICS,
      anatomy.batch_figure,
      ("adv", "adv_star"),
      most=1,
    ),
    section(
      "Images",
      "Clean images, their adversarial ones, and the difference.",
      files.EXAMPLES,
      anatomy.panel_figure,
      ("adv_clean", "adv", "mbn", "mbn_alp", "alp", "gn", "clean"),
      most=3,
    ),
  )
  return [section for section in found if section.panels]


def _read(runs: Sequence[Run], file: str, problems: list[str]) -> list[tuple[Run, Any]]:
  found = []
  for run in runs:
    try:
      if os.path.lexists(run.path / file):
        found.append((run, files.INSPECTED[file](run.path / file)))
    except UserError as error:
      problems.append(clean(str(error).replace(str(run.path), run.name)))
  return found


def _drawn(
  read: Sequence[tuple[Run, Any]],
  file: str,
  draw: Callable[[Any], Figure],
  settings: Sequence[str],
  problems: list[str],
) -> Iterator[tuple[Run, Figure, str]]:
  """Pictures of runs, one a setting, and what they show in words.

  Where a run cannot be drawn, another run of the setting, or another setting, takes its
  place.
  """
  for setting in settings:
    for run, values in read:
      if run.setting.removesuffix("_eps8") != setting:
        continue
      try:
        figure, words = draw(values), _describe(values)
        figure.draw_without_rendering()
      except Exception as error:  # whatever it is, the rest of the report matters
        why = f"{type(error).__name__}: {error}"[:100]
        problems.append(clean(f"{run.name}/{file} cannot be drawn ({why})"))
        continue
      yield run, figure, words
      break


def _describe(values: Mapping[str, Any]) -> str:
  if "running" not in values:
    right = int((values["predicted_adv"] == values["label"]).sum())
    count = len(values["label"])
    return f"{right} of {count} adversarial images are classified rightly."
  means = (
    f"{branch}: mean of the running variances {np.mean(running['var']):.3g}"
    for branch, running in values["running"].items()
  )
  return f"Layer {values['layer']}; {'; '.join(means)}."
