"""Injects faults into tiny runs, and prints one table of what came of them.

python -m tests.faults [--short] [--seed=0] [--only=kills,damage,disks,...]
"""

import argparse
import datetime
import os
import platform
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before JAX reads it. Programs are compiled once, for all starts.
_compiled = tempfile.TemporaryDirectory()
os.environ |= {
  "JAX_PLATFORMS": "cpu",
  "JAX_NUM_CPU_DEVICES": "1",
  "JAX_COMPILATION_CACHE_DIR": _compiled.name,
  "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}
sys.path.insert(0, str(Path(__file__).parents[2]))

import jax  # noqa: E402

import robustjax.main  # noqa: E402, F401 - what is imported here, no start imports

from . import damage, disks, hostile, kills, sockets, values  # noqa: E402
from .table import Result, table  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
SUBJECTS = ("kills", "damage", "disks", "values", "hostile", "sockets")
_SHORT = ("training", "adaptive attack")  # phases


def inject(
  subjects: list[str], short: bool, rng: random.Random, folder: Path
) -> Iterator[Result]:
  """All faults of some subjects, one after the other."""
  if "values" in subjects:
    yield from values.values(folder, 20 if short else 300, rng)
  if {"kills", "damage", "disks", "hostile"} & set(subjects):
    whole, took = kills.whole(folder, 1)
    phases = _SHORT if short else tuple(kills.PHASES)
    for _ in range(9 if "kills" in subjects and not short else 1):
      # Damage begins with what the kills leave.
      yield from kills.chain(folder, 1, whole, took, rng, phases)
  if {"kills", "sockets"} & set(subjects) and not short:
    two, took = kills.whole(folder, 2)
  if "kills" in subjects and not short:
    for _ in range(9):
      yield from kills.chain(folder, 2, two, took, rng)
  if "damage" in subjects:
    yield from damage.damages(folder, whole, 2 if short else 100, rng)
  if "disks" in subjects and disks.possible(folder):
    yield from disks.disks(folder, whole, 1 if short else 10)
  if "hostile" in subjects:
    yield from hostile.hostile(folder, whole, rng, 0.3 if short else 1.0)
  if "sockets" in subjects and not short:
    yield from sockets.sockets(folder, two)


def main() -> int:
  parser = argparse.ArgumentParser(prog="python -m tests.faults")
  parser.add_argument("--short", action="store_true", help="a few of each")
  parser.add_argument("--seed", type=int, default=0, help="of the moments and places")
  parser.add_argument("--only", default=",".join(SUBJECTS), help="%(default)s")
  args = parser.parse_args()
  subjects = args.only.split(",")
  found: list[Result] = []
  with tempfile.TemporaryDirectory(prefix="faults-") as name:
    for result in inject(subjects, args.short, random.Random(args.seed), Path(name)):
      found.append(result)
      how = f"WRONG: {result.wrong}" if result.wrong else result.outcome
      print(f"{result.fault}: {result.what} {how}", file=sys.stderr, flush=True)
  print(table(found))
  if not args.short and subjects == list(SUBJECTS):
    PAGE.write_text(page(table(found), args.seed))
  return int(any(result.wrong for result in found))


def page(rows: str, seed: int) -> str:
  """docs/reliability.md."""
  machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
  return (
    "# What faults do to a run\n\n"
    f"{datetime.date.today()}, {machine}, jax {jax.__version__}, seed {seed};"
    " `make faults` injects them and writes this page.\n\n"
    "Survived: the run ended, perhaps when it was started again, in the same bytes as"
    " one that nothing disturbed. Refused: one line, with the name of the thing and the"
    " remedy. Said: the run went on, and a line names what is lost.\n\n"
    f"{rows}\n"
  )


if __name__ == "__main__":
  sys.exit(main())
