"""Sorts runs by what their numbers may be compared with, and looks numbers up."""

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from robustjax.paper import settings
from robustjax.report.document import SPACE, clean
from robustjax.report.files import Row
from robustjax.report.intervals import Count
from robustjax.report.runs import Run

NOT_RUN = "not run"
PAPER_SCALE = "paper"

# All four together may be larger or smaller than the setting's own, in one proportion:
# that makes another condition, not another row.
_ATTACKS = ("attack.eps", "attack.step_size", "eval.eps", "eval.step_size")
# BN fine-tuning (section 4.4) is a row only if it starts from a run of another row.
_STARTS = {"bn_finetune_to_clean": "adv", "bn_finetune_to_adv": "clean"}
_MOST_NAMED = 5  # differences of a run; a run of another version may have all


@dataclass(frozen=True)
class Measurement:
  """An accuracy: of one run, or of several that differ in their seeds alone.

  Attributes:
    rows: one for each run.
    runs: the same number of runs.
  """

  rows: tuple[Row, ...]
  runs: tuple[Run, ...]

  @property
  def count(self) -> Count:
    """Over all runs: each run counts each image."""
    correct = sum(row.correct for row in self.rows)
    return Count(correct, sum(row.images for row in self.rows), len(self.runs))

  @property
  def rates(self) -> tuple[float, ...]:
    """The accuracy of each run, 0..1."""
    return tuple(row.correct / row.images for row in self.rows)

  @property
  def mean(self) -> float:
    """Over the runs, 0..1."""
    return sum(self.rates) / len(self.rates)

  @property
  def guesses(self) -> tuple[str, ...]:
    """What any of the runs depends on and no source settles."""
    found = (run.evaluation.guesses for run in self.runs if run.evaluation)
    return tuple(dict.fromkeys(guess for guesses in found for guess in guesses))


@dataclass(frozen=True)
class Condition:
  """Runs whose numbers may stand side by side.

  Attributes:
    scale: "paper" or "mini".
    eps: of the attacks of training and of evaluation, of 255.
    step_size: of the evaluation's attack, of 255.
    names_step: whether another condition differs in the step size alone.
    runs: of settings of the paper, in the order of their names.
  """

  scale: str
  eps: float
  step_size: float
  names_step: bool = False
  runs: tuple[Run, ...] = ()

  @property
  def is_paper(self) -> bool:
    """Whether its numbers may stand beside the published ones."""
    found = self.scale, self.eps, self.step_size
    return found == (PAPER.scale, PAPER.eps, PAPER.step_size)

  @property
  def label(self) -> str:
    """For headings, such as "miniature, eps 32"."""
    name = "ImageNet" if self.scale == PAPER_SCALE else "miniature"
    label = f"{name}, eps{SPACE}{self.eps:g}"
    return f"{label}, in steps of {self.step_size:g}" if self.names_step else label

  def of(self, setting: str) -> tuple[Run, ...]:
    """The runs of a setting.

    The word eps8 in a run's name says its condition, not its row.
    """
    names = {setting} if self.is_paper else {setting, f"{setting}_eps8"}
    return tuple(run for run in self.runs if run.setting in names)

  def readings(self, setting: str, branch: str) -> list[int]:
    """The numbers of steps that were read through a branch, 0 for clean images."""
    return sorted(
      {
        row.steps
        for run in self.of(setting)
        if run.evaluation
        for row in run.evaluation.rows
        if row.branch == branch
      }
    )

  @property
  def strongest(self) -> int:
    """The strongest attack of most evaluations, in steps; 0 if there is none."""
    found = Counter(
      max(row.steps for row in run.evaluation.rows)
      for run in self.runs
      if run.evaluation
    )
    return max(found, key=lambda steps: (found[steps], steps), default=0)

  def measure(self, setting: str, branch: str, steps: int) -> Measurement | None:
    """An accuracy, over all seeds; None if nobody measured it.

    Runs with the same seed are the same run twice: the one with more images counts.
    """
    best: dict[int, tuple[Row, Run]] = {}
    for run in self.of(setting):
      for row in run.evaluation.rows if run.evaluation else ():
        if (row.branch, row.steps) != (branch, steps):
          continue
        if run.seed not in best or row.images > best[run.seed][0].images:
          best[run.seed] = row, run
    found = [best[seed] for seed in sorted(best)]
    if not found:
      return None
    return Measurement(tuple(row for row, _ in found), tuple(run for _, run in found))

  def state(self, setting: str) -> str:
    """Why there is no number: "not run", or how far the furthest run has come."""
    order = ("empty", "imported", "training", "trained", "evaluating", "complete")
    runs = self.of(setting)
    if not runs:
      return NOT_RUN
    best = max(runs, key=lambda r: (order.index(r.progress.state), r.progress.step))
    return "not read" if best.progress.state == "complete" else best.progress.text


@dataclass(frozen=True)
class Other:
  """A run that is no row of the paper, and why, in words."""

  run: Run
  why: str


PAPER = Condition(PAPER_SCALE, 16.0, 1.0)


def group(runs: Sequence[Run]) -> tuple[list[Condition], list[Other]]:
  """Sorts runs into conditions.

  A run is a row's run if its values are those of its setting, whatever it is called
  and whoever set them; `settings.LEFT_OUT` may differ, and in one proportion eps and
  the step sizes of both attacks.

  Args:
    runs: from `runs.find`.

  Returns:
    The conditions, the paper's first and always there; and the runs that are no row of
    the paper. BN fine-tuning is one only beside the run that it starts from: in a
    report of its folder alone it is among the others.
  """
  whys = {run.path: _differences(run) for run in runs}
  folders = {run.path.resolve(): run for run in runs}
  for run in runs:
    if run.setting in _STARTS and not whys[run.path]:
      start = str(run.values.get("init.run"))
      first = _named(run, PurePath(start), folders)
      if not (first and not whys[first.path] and _may_start(run, first)):
        whys[run.path] = (
          f"starts from {_text(start)}, which is no finished run of"
          f" {_STARTS[run.setting]} in this condition among these"
        )
  found: dict[Condition, list[Run]] = {PAPER: []}
  for run in runs:
    if not whys[run.path]:
      found.setdefault(_condition(run), []).append(run)
  labels = Counter(condition.label for condition in found)
  conditions = [
    replace(c, names_step=labels[c.label] > 1, runs=tuple(of))
    for c, of in found.items()
  ]
  conditions.sort(
    key=lambda c: (not c.is_paper, c.scale != PAPER_SCALE, c.eps, c.step_size)
  )
  return conditions, [Other(run, whys[run.path]) for run in runs if whys[run.path]]


def twins(conditions: Sequence[Condition]) -> list[str]:
  """A line for each evaluated run that another has the setting and the seed of."""
  found = []
  for condition in conditions:
    first: dict[tuple[str, int], Run] = {}
    for run in condition.runs:
      if not run.evaluation:
        continue
      other = first.setdefault((run.setting, run.seed), run)
      if other is not run:
        found.append(
          f"{run.name} has the setting, the condition and the seed of {other.name}: of"
          " each reading the one with more images counts"
        )
  return found


def _differences(run: Run) -> str:
  """In which values a run is not its setting's, in words; "" if in none."""
  values, own = run.values, settings.own_values(run.setting, run.scale)
  if own is None:
    of_row = "of no row of the paper"
    return f"its weights are of {run.weights}" if run.weights else of_row
  free = set(_ATTACKS) if _is_in_proportion(run, own) else set()
  if run.setting in _STARTS:
    free.add("init.run")
  differ = [
    f"{clean(name)}={_text(values.get(name))} instead of {_text(own.get(name))}"
    for name in sorted(own.keys() | values.keys())
    if name not in free
    and not (name in own and name in values and _same(values[name], own[name]))
  ]
  more = len(differ) - _MOST_NAMED
  return ", ".join(differ[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _is_in_proportion(run: Run, own: Mapping[str, Any]) -> bool:
  found = (run.trained_eps, run.trained_step_size, run.eps, run.step_size)
  factors = [value / own[name] for name, value in zip(_ATTACKS, found, strict=True)]
  return factors[0] > 0 and all(math.isclose(f, factors[0]) for f in factors)


def _same(value: Any, own: Any) -> bool:
  """Whether two values of JSON are the same: 8 and 8.0 are, 1 and true are not."""
  if isinstance(value, list) and isinstance(own, list):
    return len(value) == len(own) and all(map(_same, value, own))
  if isinstance(value, bool) or isinstance(own, bool):
    return value is own
  return bool(value == own)


def _text(value: Any) -> str:
  text = clean(repr(value))
  return text if len(text) <= 60 else f"{text[:60]}..."


def _may_start(run: Run, first: Run) -> bool:
  """Whether BN fine-tuning may start from a run, which has its setting's values."""
  return (
    first.setting == _STARTS[run.setting]
    and _condition(first) == _condition(run)
    and first.progress.state not in ("empty", "training")
  )


def _named(run: Run, name: PurePath, folders: Mapping[Path, Run]) -> Run | None:
  """The run that another calls by the name of its folder.

  A relative name is of the folder that the training was started in: one of those
  above, unless the runs were moved since. Moved runs are still side by side.
  """
  above = run.path.resolve().parents
  paths = [Path(os.path.normpath(folder / name)) for folder in above]
  paths.append(above[0] / name.name)
  return next((folders[path] for path in paths if path in folders), None)


def _condition(run: Run) -> Condition:
  # As many digits as a label shows: what reads alike is one condition.
  eps, step_size = (float(f"{value:g}") for value in (run.eps, run.step_size))
  return Condition(run.scale, eps, step_size)
