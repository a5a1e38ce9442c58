"""Finds runs in folders and reads their files; damage is named and never fatal."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustjax.errors import UserError
from robustjax.report.document import clean

CONFIG = "config.json"
EVALUATION = "evaluation.json"
PROGRESS = "evaluation.progress.json"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"

# Folders of a run that hold no runs, and may hold very many files.
_SKIPPED = {CHECKPOINTS, "tensorboard"}

# No number that is read is below 0 or larger, and nothing is nested deeper.
_MOST = 10**12
_DEPTH = 20


class Damaged(Exception):
  """A file does not hold what it should: in a few words, for one line."""


@dataclass(frozen=True)
class Row:
  """A reading of an evaluation: `steps` is 0 for clean images."""

  branch: str
  steps: int
  correct: int
  images: int


@dataclass(frozen=True)
class Evaluation:
  """What evaluation.json says, checked."""

  step: int
  rows: tuple[Row, ...]
  guesses: tuple[str, ...]


@dataclass(frozen=True)
class Progress:
  """How far a run has come.

  Attributes:
    state: "complete", "evaluating", "trained", "training" or "empty".
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
    data: the data set's name.
    eps: of the evaluation's attack, of 255.
    step_size: of the same.
    trained_eps: of the attack in training.
    trained_step_size: of the same.
    trained_steps: how many of them.
    overrides: dotted name -> value, changed from the command line; None if config.json
      does not say.
    evaluation: None unless there is a whole one.
    progress: how far it has come.
  """

  path: Path
  name: str
  setting: str
  scale: str
  seed: int
  data: str
  eps: float
  step_size: float
  trained_eps: float
  trained_step_size: float
  trained_steps: int
  overrides: Mapping[str, Any] | None
  evaluation: Evaluation | None
  progress: Progress


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
  runs: dict[Path, Run] = {}
  problems: list[str] = []
  seen = set()
  for folder, short in zip(folders, names, strict=True):
    prefix = short if names.count(short) == 1 else str(folder)
    for path in _run_folders(folder, problems):
      if path.resolve() in seen:
        continue
      seen.add(path.resolve())
      below = "" if path == folder else path.relative_to(folder).as_posix()
      parts = [prefix if len(folders) > 1 or not below else "", below]
      name = clean("/".join(filter(None, parts))).strip()
      run = _read(path, name, problems)
      if run:
        runs[path] = run
  return sorted(runs.values(), key=lambda run: run.name), problems


def _run_folders(folder: Path, problems: list[str]) -> Iterator[Path]:
  def unreadable(error: OSError) -> None:
    problems.append(clean(f"{error.filename} cannot be read ({error.strerror})"))

  for found, below, files in os.walk(folder, onerror=unreadable):
    below[:] = sorted(name for name in below if name not in _SKIPPED)
    if CONFIG in files:
      yield Path(found)


def _read(path: Path, name: str, problems: list[str]) -> Run | None:
  def problem(file: str, error: Damaged) -> None:
    other = " or of another version" if file == CONFIG else ""
    problems.append(clean(f"{name}/{file} is damaged{other}: {error}"))

  try:
    config = _config(path / CONFIG)
  except Damaged as error:
    problem(CONFIG, error)
    return None
  evaluation = None
  spoilt = False
  try:
    evaluation = _evaluation(path / EVALUATION, config["eps"])
  except Damaged as error:
    problem(EVALUATION, error)
    spoilt = True
  records: list[dict[str, Any]] = []
  try:
    records = _metrics(path / METRICS)
  except Damaged as error:
    problem(METRICS, error)
  epochs = config.pop("epochs")
  progress = _progress(path, evaluation, spoilt, records, epochs)
  return Run(path, name, **config, evaluation=evaluation, progress=progress)


def _json(path: Path, finite: bool = False) -> Any:
  """The value in a file, or None without the file."""
  try:
    return _parse(path.read_text(encoding="utf-8"), finite)
  except FileNotFoundError:
    return None
  except (ValueError, RecursionError) as error:
    raise Damaged("it is not JSON") from error
  except OSError as error:
    raise Damaged(f"it cannot be read ({error.strerror})") from error


def _parse(text: str, finite: bool = False) -> Any:
  """The value of a JSON text; raises ValueError or RecursionError if it is none.

  `finite` refuses NaN and infinities as damage, wherever they stand.
  """
  hook = _finite if finite else None
  value = json.loads(text, parse_constant=hook, parse_float=hook)
  level = [value]
  for _ in range(_DEPTH):
    nested = [inner for inner in level if isinstance(inner, dict | list)]
    if not nested:
      return value
    level = [v for n in nested for v in (n.values() if isinstance(n, dict) else n)]
  raise ValueError


def _finite(text: str) -> float:
  value = float(text)
  if not math.isfinite(value):
    raise Damaged(f"it holds {_short(text)}")
  return value


def _get(value: Any, name: str, kind: type) -> Any:
  """`value[name]`, of a kind; `name` may be dotted. Numbers are of 0.._MOST."""
  for part in name.split("."):
    if not isinstance(value, dict) or part not in value:
      raise Damaged(f"it has no {name}")
    value = value[part]
  kinds: Any = (int, float) if kind is float else kind
  if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
    raise Damaged(f"its {name} is {_short(value)}")
  if kind in (int, float) and not 0 <= value <= _MOST:
    raise Damaged(f"its {name} is {_short(value)}")
  return value


def _short(value: Any) -> str:
  text = clean(repr(value))
  return text if len(text) <= 40 else f"{text[:40]}..."


def _config(path: Path) -> dict[str, Any]:
  config = _json(path)
  overrides = None
  if isinstance(config, dict) and "overrides" in config:
    overrides = _get(config, "overrides", dict)
  return {
    "setting": clean(_get(config, "setting", str)),
    "scale": clean(_get(config, "scale", str)),
    "seed": _get(config, "seed", int),
    "data": clean(_get(config, "data.name", str)),
    "eps": float(_get(config, "eval.eps", float)),
    "step_size": float(_get(config, "eval.step_size", float)),
    "trained_eps": float(_get(config, "attack.eps", float)),
    "trained_step_size": float(_get(config, "attack.step_size", float)),
    "trained_steps": _get(config, "attack.steps", int),
    "epochs": float(_get(config, "train.epochs", float)),
    "overrides": overrides,
  }


def _evaluation(path: Path, eps: float) -> Evaluation | None:
  found = _json(path, finite=True)
  if found is None and not path.exists():
    return None
  step = _get(found, "step", int)
  rows = [_row(value, i, eps) for i, value in enumerate(_get(found, "rows", list))]
  if not rows:
    raise Damaged("it has no rows")
  if len({(row.branch, row.steps) for row in rows}) < len(rows):
    raise Damaged("a reading is there twice")
  guesses = found.get("guesses", [])
  if not isinstance(guesses, list) or not all(isinstance(g, str) for g in guesses):
    raise Damaged("its guesses are not a list of names")
  return Evaluation(step, tuple(rows), tuple(clean(guess) for guess in guesses))


def _row(value: Any, number: int, eps: float) -> Row:
  try:
    row = Row(
      clean(_get(value, "branch", str)),
      _get(value, "steps", int),
      _get(value, "correct", int),
      _get(value, "images", int),
    )
    if row.images < 1:
      raise Damaged(f"its images are {row.images}")
    if not 0 <= row.correct <= row.images:
      raise Damaged(f"{row.correct} correct of {row.images} images")
    accuracy = _get(value, "accuracy", float)
    if abs(accuracy - row.correct / row.images) > 1e-6:
      raise Damaged(f"accuracy {accuracy:g} is not {row.correct} / {row.images}")
    if row.steps and _get(value, "eps", float) != eps:
      raise Damaged(f"eps {value['eps']:g}, where config.json says {eps:g}")
  except Damaged as error:
    raise Damaged(f"row {number + 1}: {error}") from error
  return row


def _metrics(path: Path) -> list[dict[str, Any]]:
  """The records; a last line that a kill cut short is left out."""
  try:
    lines = path.read_text(encoding="utf-8").splitlines()
  except FileNotFoundError:
    return []
  except ValueError as error:
    raise Damaged("it is not text") from error
  except OSError as error:
    raise Damaged(f"it cannot be read ({error.strerror})") from error
  records = []
  for number, line in enumerate(lines, 1):
    try:
      record = _parse(line)
    except (ValueError, RecursionError) as error:
      if number == len(lines):
        break
      raise Damaged(f"line {number} is not JSON") from error
    try:
      _get(record, "step", int)
      _get(record, "epoch", float)
      _get(record, "split", str)
    except Damaged as error:
      raise Damaged(f"line {number}: {error}") from error
    records.append(record)
  return records


def _progress(
  path: Path,
  evaluation: Evaluation | None,
  spoilt: bool,
  records: Sequence[Mapping[str, Any]],
  epochs: float,
) -> Progress:
  saved = [int(name) for name in _checkpoints(path) if int(name) <= _MOST]
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
