"""kill -9 at random moments of every phase, on one process and on two."""

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import runs
from .table import Result

# What a phase begins with, in the folder of the run; the first begins with the start.
PHASES = {
  "start": "",
  "training": "metrics.jsonl",
  "saving": "checkpoints/*tmp*",
  "evaluation": "evaluation.progress.json",
  "adaptive attack": "evaluations/*/progress.json",
  "look inside": "evaluation.json",
}
_SAVING = 0.03  # seconds, about


def whole(folder: Path, processes: int) -> tuple[Path, dict[str, float]]:
  """A run that nothing disturbs, and how long its phases take, in seconds.

  The first one compiles; the second one takes as long as those that are killed.
  """
  workdir = folder / f"whole-{processes}"
  first = runs.start(folder / f"first-{processes}", processes)
  if first.end():
    raise SystemExit(f"the undisturbed run failed:\n{first.said()[-2000:]}")
  started, begun = runs.start(workdir, processes), {}
  while started.alive():
    for phase, pattern in PHASES.items():
      if phase not in begun and _in(workdir, pattern):
        begun[phase] = time.monotonic()
    time.sleep(0.002)
  ended = time.monotonic()
  if wrong := runs.ended_well(started, workdir, folder / f"first-{processes}"):
    raise SystemExit(f"two undisturbed runs differ: {wrong}")
  begun.pop("saving", None)  # it comes again and again
  ends = [*list(begun.values())[1:], ended]
  took = {p: e - b for (p, b), e in zip(begun.items(), ends, strict=True)}
  return workdir, took | {"saving": _SAVING}


def chain(
  folder: Path,
  processes: int,
  whole: Path,
  took: dict[str, float],
  rng: random.Random,
  phases: Sequence[str] = tuple(PHASES),
) -> Iterator[Result]:
  """A run that is killed once in every phase, then ends as one that was not.

  What the kill left in each phase is kept beside it, for other faults to begin with.
  """
  workdir = runs.copied(Path("/nonexistent"), folder / f"killed-{processes}")
  results = []
  for phase in phases:
    started, pattern = runs.start(workdir, processes), PHASES[phase]
    inside = runs.until(started, lambda pattern=pattern: _in(workdir, pattern))
    if inside:
      time.sleep(rng.random() * took[phase])
    inside = inside and started.alive()
    started.kill()
    started.end()
    runs.copied(workdir, folder / f"state-{processes}-{phase}")
    lost = f"{_steps(workdir)} of 12 steps kept"
    if inside:  # or it had ended before
      fault = f"kill -9, {processes} process{'es' * (processes > 1)}: {phase}"
      results.append((fault, lost, time.monotonic() - started.begun))
  last = runs.start(workdir, processes)
  wrong = runs.ended_well(last, workdir, whole)
  for fault, lost, _ in results:
    yield Result(fault, "survived", time.monotonic() - last.begun, lost, wrong)


def _in(workdir: Path, pattern: str) -> bool:
  return not pattern or next(workdir.glob(pattern), None) is not None


def _steps(workdir: Path) -> int:
  names = (p.name for p in workdir.glob("checkpoints/*"))
  return max((int(name) for name in names if name.isdigit()), default=0)
