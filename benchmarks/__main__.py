"""Measures this machine: robustjax beside PyTorch, its start, its loop. `make bench`.

python -m benchmarks [NAME ...] [--quick]

Both sides compute the same: that is checked before anything is timed. All of it takes
up to half an hour on two quiet cores, and writes docs/performance.md and .json; with
names, or --quick (two rounds, no torch.compile), it prints alone.
"""

import argparse
import datetime
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tqdm

from benchmarks import machine, page, start_up, turns
from benchmarks.cases import CASES

DOCS = Path(__file__).parents[1] / "docs"
ROUNDS, QUICK = 5, 2
# Seconds that a part takes on two quiet cores, more or less: for the time left.
PARTS = {
  "resnet50_64": 120,
  "resnet50_224": 140,
  "demo_pgd": 80,
  "demo_train": 100,
  "demo_evaluation": 100,
  "start": 150,
  "loop": 60,
}
_PREPARING = 0.4  # of that, before the first timing

Advance = Callable[[float], Any]  # by a part of a part


def compare(name: str, rounds: int, quick: bool, advance: Advance) -> dict[str, Any]:
  """One case, both sides in turn."""
  case = CASES[name]
  with tempfile.TemporaryDirectory() as folder:
    words = ["--eager"] if quick else []
    with turns.process("benchmarks.ours", name, folder) as ours:
      advance(_PREPARING / 2)
      with turns.process("benchmarks.theirs", name, folder, *words) as theirs:
        advance(_PREPARING / 2)
        count = rounds * len(ours.facts["forms"] + theirs.facts["forms"])
        seconds = turns.rounds(
          (ours, theirs), rounds, lambda: advance((1 - _PREPARING) / count)
        )
  return {
    "title": case.title,
    "unit": case.unit,
    "work": ours.facts["work"],
    **{fact: theirs.facts[fact] for fact in ("flops", "apart", "note")},
    "seconds": seconds,
  }


def start(rounds: int, advance: Advance) -> dict[str, list[float]]:
  """See `start_up`."""
  return start_up.measure(rounds, lambda: advance(1 / (2 * rounds)))


def loop(rounds: int, advance: Advance) -> dict[str, list[float]]:
  """See `loop`."""
  with turns.process("benchmarks.loop") as process:
    advance(_PREPARING)
    count = rounds * len(process.facts["forms"])
    return turns.rounds([process], rounds, lambda: advance((1 - _PREPARING) / count))


def measure(names: list[str], quick: bool) -> dict[str, Any]:
  """All that is named, and the machine that it is of: see `page`."""
  others, rounds = machine.Others(), QUICK if quick else ROUNDS
  if warning := others.warning():
    print(f"warning: {warning}", file=sys.stderr)
  found: dict[str, Any] = {"cases": {}}
  total = sum(PARTS[name] for name in names)
  with tqdm.tqdm(total=total, bar_format=_BAR) as bar:
    for name in names:
      bar.set_description_str(name)

      def advance(part: float, seconds: int = PARTS[name]) -> None:
        bar.update(part * seconds)

      if name in CASES:
        found["cases"][name] = compare(name, rounds, quick, advance)
      else:
        found[name] = {"start": start, "loop": loop}[name](rounds, advance)
  return {
    "machine": machine.processor(),
    "versions": machine.versions(),
    "commit": commit(),
    "date": datetime.date.today().isoformat(),
    "rounds": rounds,
    "load": [others.load, machine.load()],
    "taken": others.taken(),
    "warning": others.warning(),
    **found,
  }


_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} so far, {remaining} left"


def commit() -> str:
  """What is measured, and whether it is more than what was committed."""
  words = ["git", "describe", "--always", "--dirty=, changed", "--exclude=*"]
  try:
    made = subprocess.run(words, capture_output=True, text=True, cwd=DOCS, check=True)
  except (OSError, subprocess.CalledProcessError):
    return "unknown"
  return made.stdout.strip()


def main() -> int:
  """The command line; see the module's docstring."""
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0]
  )
  parser.add_argument(
    "names", nargs="*", metavar="NAME", help=f"of {', '.join(PARTS)}; all by default"
  )
  parser.add_argument(
    "--quick", action="store_true", help="two rounds, and no torch.compile"
  )
  args = parser.parse_args()
  if unknown := [name for name in args.names if name not in PARTS]:
    parser.error(f"no measurement {unknown[0]!r}; there is {', '.join(PARTS)}")
  if not importlib.util.find_spec("torch"):
    parser.error("PyTorch is not installed, which this compares with: make bench does")
  os.environ["JAX_PLATFORMS"] = "cpu"  # what is measured here, whatever there is
  names = [name for name in PARTS if name in (args.names or PARTS)]
  measured = measure(names, args.quick)
  print(page.tables(measured))
  if not (args.names or args.quick):
    text = DOCS / "performance.md"
    text.write_text(page.written(text.read_text(), measured))
    (DOCS / "performance.json").write_text(json.dumps(measured, indent=1) + "\n")
    print(f"\nWritten to {text} and performance.json beside it.")
  return 0


if __name__ == "__main__":
  sys.exit(main())
