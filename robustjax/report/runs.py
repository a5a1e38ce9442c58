"""Finds runs in folders and reads their files; damage is named and never fatal."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustjax.errors import UserError
from robustjax.report.cards import CARD, Card, read_card
from robustjax.report.checked import MOST, Damaged
from robustjax.report.document import clean
from robustjax.report.files import (
  CONFIG,
  EVALUATION,
  METRICS,
  Evaluation,
  read_config,
  read_evaluation,
  read_metrics,
)
from robustjax.report.suites import (
  VERDICTS,
  Audit,
  Identity,
  Suite,
  read_audits,
  read_suites,
)

PROGRESS = "evaluation.progress.json"
CHECKPOINTS = "checkpoints"

# Folders of a run that hold no runs, and may hold very many files.
_SKIPPED = {CHECKPOINTS, "tensorboard", "evaluations", "audits"}


@dataclass(frozen=True)
class Progress:
  """How far a run has come.

  Attributes:
    state: "complete", "evaluating", "trained", "training" or "empty"; or "imported":
      its weights are a file's, and it has nothing to complete.
    text: the same for a person, such as "training 43 %".
    step: of the last record or checkpoint; 0 if there is none.
    validation: the accuracies of the last validation, name -> 0..1.
  """

  state: str
  text: str
  step: int
  validation: Mapping[str, float]


@dataclass(frozen=True)
class Run:
  """A run, from its files.

  Attributes:
    path: its folder.
    name: the same for a person: below the folder that was searched.
    setting: of the paper.
    scale: "paper" or "mini".
    seed: of all its randomness.
    eps: of the evaluation's attack, of 255.
    step_size: of the same.
    trained_eps: of the attack in training.
    trained_step_size: of the same.
    overrides: dotted name -> value, changed from the command line; None if config.json
      does not say.
    data: the data set's name, as the run was told it.
    split: of it, with the images that are evaluated.
    values: dotted name -> value, of all that a row of the paper may depend on.
    evaluation: None unless there is a whole one.
    progress: how far it has come.
    suites: its evaluations by attacks.
    audits: whether attacks on it can be trusted.
    card: what was measured of a published network, if it is one.
  """

  path: Path
  name: str
  setting: str
  scale: str
  seed: int
  eps: float
  step_size: float
  trained_eps: float
  trained_step_size: float
  overrides: Mapping[str, Any] | None
  data: str
  split: str
  values: Mapping[str, Any]
  evaluation: Evaluation | None
  progress: Progress
  suites: tuple[Suite, ...] = ()
  audits: tuple[Audit, ...] = ()
  card: Card | None = None

  @property
  def weights(self) -> str:
    """The file that its weights were imported from; "" if it was trained."""
    return clean(str(self.values.get("init.weights") or ""))

  def standard(self, branch: str) -> Suite | None:
    """The suite "standard" through a branch that is also attacked, at the run's eps.

    The largest, if there are several.
    """
    own = [s for s in self.suites if s.attack == "standard" and self.is_own(s.identity)]
    through = [suite for suite in own if suite.identity.branch == branch]
    return max(through, key=lambda suite: suite.images, default=None)

  def audit(self, branch: str) -> Audit | None:
    """The worst audit of a branch at the run's eps."""
    own = [audit for audit in self.audits if self.is_own(audit.identity)]
    through = [audit for audit in own if audit.identity.branch == branch]
    return max(through, key=lambda a: VERDICTS.index(a.verdict), default=None)

  def is_own(self, what: Identity) -> bool:
    """Whether it is what evaluation.json is of: checkpoint, images, eps and norm.

    Imported weights have no evaluation.json, one checkpoint, and perhaps no eps of
    their own: then any is.
    """
    step = self.evaluation.step if self.evaluation else 0 if self.weights else None
    eps = self.eps or (what.eps if self.weights else 0.0)
    return (
      what.branch == what.attack_branch
      and (what.norm, what.eps, what.split) == ("linf", eps, self.split)
      and f"{what.data}:".startswith(f"{self.data}:")  # a version may follow
      and (step is not None and what.step == step)
    )


def find(folders: Sequence[Path]) -> tuple[list[Run], list[str]]:
  """All runs in some folders and in the folders below, in the order of their names.

  Args:
    folders: a run itself may be among them. What is found twice counts once.

  Returns:
    The runs, and a line for each file that is damaged.

  Raises:
    UserError: a folder is not there or cannot be read.
  """
  for folder in folders:
    # `Path.is_dir` complains of a name that is too long.
    if not os.path.isdir(folder):
      raise UserError(f"{clean(str(folder))} is not a folder: name one that holds runs")
    if not os.access(folder, os.R_OK | os.X_OK):
      raise UserError(f"{clean(str(folder))} cannot be read: name another folder")
  names = [folder.resolve().name for folder in folders]
  runs: dict[Path, Run | None] = {}
  problems: list[str] = []
  for folder, short in zip(folders, names, strict=True):
    prefix = short if names.count(short) == 1 else str(folder)
    for path in _run_folders(folder, problems):
      if path.resolve() in runs:
        continue
      below = "" if path == folder else path.relative_to(folder).as_posix()
      parts = [prefix if len(folders) > 1 or not below else "", below]
      name = clean("/".join(filter(None, parts))).strip()
      runs[path.resolve()] = _read(path, name, problems)
  return sorted(filter(None, runs.values()), key=lambda run: run.name), problems


def _run_folders(folder: Path, problems: list[str]) -> Iterator[Path]:
  def unreadable(error: OSError) -> None:
    problems.append(clean(f"{error.filename} cannot be read ({error.strerror})"))

  for found, below, files in os.walk(folder, onerror=unreadable):
    skipped = _SKIPPED if CONFIG in files else set()
    below[:] = sorted(name for name in below if name not in skipped)
    if CONFIG in files:
      yield Path(found)


def _read(path: Path, name: str, problems: list[str]) -> Run | None:
  def problem(file: str, error: Damaged) -> None:
    other = " or of another version" if file == CONFIG else ""
    problems.append(clean(f"{name}/{file} is damaged{other}: {error}"))

  try:
    config = read_config(path / CONFIG)
  except Damaged as error:
    problem(CONFIG, error)
    return None
  evaluation = None
  spoilt = False
  try:
    evaluation = read_evaluation(path / EVALUATION, config["eps"])
  except Damaged as error:
    problem(EVALUATION, error)
    spoilt = True
  records: list[dict[str, Any]] = []
  try:
    records = read_metrics(path / METRICS)
  except Damaged as error:
    problem(METRICS, error)
  epochs = config.pop("epochs")
  card = None
  try:
    card = read_card(path / CARD)
  except Damaged as error:
    problem(CARD, error)
  suites, audits = read_suites(path, problem), read_audits(path, problem)
  if config["values"].get("init.weights"):
    read = card or next(path.glob("evaluations/*/readings.json"), None)
    evaluated = "read by the paper's protocol" if read else "not evaluated"
    evaluated = "evaluated by attacks" if suites else evaluated
    progress = Progress("imported", f"imported, not trained here; {evaluated}", 0, {})
  else:
    progress = _progress(path, evaluation, spoilt, records, epochs)
  return Run(
    path,
    name,
    **config,
    evaluation=evaluation,
    progress=progress,
    suites=suites,
    audits=audits,
    card=card,
  )


def _progress(
  path: Path,
  evaluation: Evaluation | None,
  spoilt: bool,
  records: Sequence[Mapping[str, Any]],
  epochs: float,
) -> Progress:
  saved = [int(name) for name in _checkpoints(path) if int(name) <= MOST]
  step = max([*saved, *(record["step"] for record in records)], default=0)
  validation = _validation(records)
  if evaluation:
    return Progress("complete", "complete", evaluation.step, validation)
  done = max((record["epoch"] for record in records), default=0.0)
  if (path / PROGRESS).exists() and not spoilt:
    state, text = "evaluating", "evaluating"
  elif spoilt:
    state, text = "trained", "evaluation damaged"
  elif records and done >= epochs:
    state, text = "trained", "trained, not evaluated"
  elif records or saved:
    state = text = "training"
    if records and epochs > 0:
      text += f" {min(99, int(100 * done / epochs))}\N{NO-BREAK SPACE}%"
  else:
    state, text = "empty", "not begun"
  return Progress(state, text, step, validation)


def _checkpoints(path: Path) -> list[str]:
  return [p.name for p in path.glob(f"{CHECKPOINTS}/*") if p.name.isdecimal()]


def _validation(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
  last = [record for record in records if record["split"] == "validation"][-1:]
  return {
    clean(name).removeprefix("accuracy_"): float(value)
    for record in last
    for name, value in record.items()
    if name.startswith("accuracy_")
    and isinstance(value, int | float)
    and not isinstance(value, bool)
    and 0 <= value <= 1
  }
