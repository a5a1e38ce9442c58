"""How a run stands, from its folder and its log."""

import fcntl
import json
import os
import re
from pathlib import Path
from typing import Any

from robustjax.sweep.runs import Run, setting_of

TAIL_BYTES = 8192  # of a log: many progress bars, or the end of a traceback
BAR = re.compile(r"([a-z ]+): +(\d+)%[^\[]*\[[^<\]]*<([^,\]]+)")  # as tqdm writes it


def is_finished(run: Run) -> bool:
  """Whether there is nothing left to do, so that main need not even be asked.

  In doubt it is not: main then says what is the matter, or that it is complete.
  """
  if (run.workdir / "evaluation.progress.json").exists():
    return False
  config = _read_object(run.workdir / "config.json")
  setting, scale = setting_of(run.file, run.words)
  parts = sorted(setting.split("_"))  # the order of an experiment's own words is free
  return (
    bool(result(run.workdir))
    and sorted(str(config.get("setting")).split("_")) == parts
    and config.get("scale") == scale
    and config.get("overrides") == run.values
  )


def is_begun(run: Run) -> bool:
  """Whether main would go on with something instead of starting afresh."""
  saved = any(p.name.isdigit() for p in run.workdir.glob("checkpoints/*"))
  return saved or any(run.workdir.glob("evaluation*.json"))


def result(workdir: Path) -> str:
  """The accuracy after the most attack steps through each branch.

  Returns:
    Such as "PGD-100 61.6% clean, 79.3% adv"; "" if there is no evaluation.json, or
    it is damaged.
  """
  evaluation = _read_object(workdir / "evaluation.json")
  try:
    most = max(row["steps"] for row in evaluation["rows"])
    rates = ", ".join(
      f"{row['accuracy']:.1%} {row['branch']}".removesuffix(" all")
      for row in evaluation["rows"]
      if row["steps"] == most
    )
  except (KeyError, TypeError, ValueError):
    return ""
  return f"PGD-{most} {rates}" if most else f"no attack {rates}"


def is_held(workdir: Path) -> bool:
  """Whether another process is at work in a folder: it has locked it."""
  try:
    with (workdir / ".lock").open() as lock:
      fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
  except BlockingIOError:
    return True
  except OSError:  # no such folder
    return False
  return False


def _read_object(path: Path) -> dict[str, Any]:
  try:
    value = json.loads(path.read_text())
  except (OSError, ValueError):
    return {}
  return value if isinstance(value, dict) else {}


def tail(log: Path, start: int) -> list[str]:
  """The last lines of a log from a position on; a redrawn bar is a line each time."""
  with log.open("rb") as file:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(start, size - TAIL_BYTES))
    text = file.read().decode(errors="replace")
  return [line for line in re.split(r"[\r\n]+", text) if line.strip()]


def progress(log: Path, start: int) -> str:
  """How far a run is, from its last bar: "train 43%, 02:10 left"; "" without a bar."""
  for line in reversed(tail(log, start)):
    if found := BAR.match(line):
      stage, percent, left = found.groups()
      return f"{stage} {percent}%" + ("" if left == "?" else f", {left} left")
  return ""


def error_line(log: Path, start: int) -> str:
  """The line that says why a run failed: main's own, or a traceback's last."""
  lines = tail(log, start)
  errors = [line for line in lines if line.startswith("error: ")]
  return (
    (errors or lines or ["nothing is in its log"])[-1].removeprefix("error: ").strip()
  )
