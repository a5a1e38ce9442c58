"""Signals at random moments of every phase, on one process and on two."""

import contextlib
import dataclasses
import functools
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from . import runs
from .table import NOT_TRIED, Result

# What a phase begins with, in the folder of the run; the first begins with the start.
PHASES = {
  "start": "",
  "training": "metrics.jsonl",
  "saving": "checkpoints/*tmp*",
  "evaluation": "evaluation.progress.json",
  "adaptive attack": "evaluations/*/progress.json",
  "look inside": "evaluation.json",
}
SHORT = ("training", "adaptive attack")
_SAVING = 0.03  # seconds, about
_SHARES = (1.0, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 0.0)
_COARSE = 0.05  # seconds that a file system's clock may be behind
_CHAINS = 9  # of one and of two processes: 54 kills each
_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_OBEYED = 30.0  # seconds within which a stop is, on a machine that does much else

Case = Callable[[random.Random], Iterator[Result]]


def cases(folder: Path, short: bool) -> dict[str, Case]:
  """Runs of one and of two processes that are ended in every phase."""
  if short:
    return {"short": functools.partial(chain, folder, 1, phases=SHORT, keep=True)}
  return {
    f"{processes}, {end.name}, {number}": functools.partial(
      chain, folder, processes, end=end
    )
    for processes in (1, 2)
    for end, times in {signal.SIGKILL: _CHAINS, **dict.fromkeys(_STOPS, 1)}.items()
    for number in range(times)
  }


def whole(folder: Path, processes: int = 1) -> tuple[Path, dict[str, float]]:
  """A run that nothing disturbs, and how long its phases take, in seconds.

  The first one compiles; the second one takes as long as those that are killed.
  """
  workdir, known = folder / f"whole-{processes}", folder / f"whole-{processes}.json"
  if known.exists():
    return workdir, json.loads(known.read_text())
  first = runs.start(runs.gone(folder / f"first-{processes}"), processes)
  if first.end():
    raise SystemExit(f"the undisturbed run failed:\n{first.said()[-2000:]}")
  started, begun = runs.start(runs.gone(workdir), processes), {}
  while started.alive():
    for phase in PHASES:
      if phase not in begun and _in(workdir, phase):
        begun[phase] = time.monotonic()
    time.sleep(0.002)
  ended = time.monotonic()
  if wrong := runs.ended_well(started, workdir, folder / f"first-{processes}"):
    raise SystemExit(f"two undisturbed runs differ: {wrong}")
  begun.pop("saving", None)  # it comes again and again
  ends = [*list(begun.values())[1:], ended]
  took = {p: e - b for (p, b), e in zip(begun.items(), ends, strict=True)}
  took["saving"] = _SAVING
  known.write_text(json.dumps(took))
  return workdir, took


def chain(
  folder: Path,
  processes: int,
  rng: random.Random,
  phases: Sequence[str] = tuple(PHASES),
  end: signal.Signals = signal.SIGKILL,
  keep: bool = False,
) -> Iterator[Result]:
  """A run that is ended once in every phase, and at last ends as one that was not.

  With `keep` what is left in each phase stays, for other faults to begin with.
  """
  undisturbed, took = whole(folder, processes)
  workdir = runs.gone(folder / f"ended-{os.getpid()}")
  before = folder / f"before-{os.getpid()}"
  results = []
  for phase in phases:
    runs.gone(before).mkdir()
    if workdir.exists():
      runs.copied(workdir, before)
    for share in _SHARES:  # of the phase: it may be over before
      since = time.time()
      started = runs.start(runs.copied(before, workdir), processes)
      inside = runs.until(started, functools.partial(_in, workdir, phase, since))
      if inside:
        time.sleep(rng.random() * share * took[phase])
      inside = inside and started.alive() and not _over(workdir, phase)
      begun = time.monotonic()
      started.kill(end)
      status, seconds = started.end(), time.monotonic() - begun
      if inside:
        break
    fault = f"{_NAMES[end]}, {processes} process{'es' * (processes > 1)}: {phase}"
    if not inside:
      runs.copied(before, workdir)
      results.append(Result(fault, NOT_TRIED, 0.0, what="no moment of it was met"))
      continue
    if keep:
      runs.copied(workdir, folder / f"state-{phase}")
    wrong = "" if end == signal.SIGKILL else _stopped(status, seconds, started)
    results.append(Result(fault, "survived", seconds, runs.lost(workdir), wrong))
  wrong = runs.ended_well(runs.start(workdir, processes), workdir, undisturbed)
  for result in results:
    yield dataclasses.replace(result, wrong=result.wrong or wrong)


_NAMES = {signal.SIGKILL: "kill -9"} | {stop: stop.name for stop in _STOPS}


def _stopped(status: int, seconds: float, started: runs.Start) -> str:
  """Why a run did not stop as it was asked to; "" if it did."""
  ended = status in (0, 143) and "Traceback" not in started.said()
  if not ended or seconds > _OBEYED:
    return f"status {status} after {seconds:.0f} s: {started.said()[-300:]}"
  return ""


def _in(workdir: Path, phase: str, since: float = 0.0) -> bool:
  """Whether a phase has begun, after a time in seconds since 1970."""
  if not (pattern := PHASES[phase]):
    return True
  with contextlib.suppress(FileNotFoundError):  # what was being saved is saved
    times = [path.stat().st_mtime for path in workdir.glob(pattern)]
    return any(changed > since - _COARSE for changed in times)
  return False


def _over(workdir: Path, phase: str) -> bool:
  """Whether a later phase has begun; saving comes again and again."""
  names = list(PHASES)
  later = names[names.index(phase) + 1 :]
  return any(_in(workdir, name) for name in later if name != "saving")
