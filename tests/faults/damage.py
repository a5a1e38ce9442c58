"""Files of a run with a flipped bit, cut short, or gone; then it is started again."""

import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from . import runs
from .table import Result


def flip(path: Path, rng: random.Random) -> str:
  content = bytearray(path.read_bytes())
  if not content:
    return "empty"
  place = rng.randrange(len(content))
  content[place] ^= 1 << rng.randrange(8)
  path.write_bytes(content)
  return f"byte {place}"


def cut(path: Path, rng: random.Random) -> str:
  size = rng.randrange(max(1, path.stat().st_size))
  with path.open("r+b") as file:
    file.truncate(size)
  return f"{size} bytes left"


def delete(path: Path, rng: random.Random) -> str:
  path.unlink()
  return ""


KINDS: dict[str, Callable[[Path, random.Random], str]] = {
  "a bit flipped": flip, "a file cut short": cut, "a file deleted": delete,
}  # fmt: skip


def damages(
  folder: Path, whole: Path, count: int, rng: random.Random
) -> Iterator[Result]:
  """Damages of each kind to files of a run that had ended, or was killed in a phase."""
  states = [whole, whole, *sorted(folder.glob("state-1-*"))]
  for kind in KINDS:
    for _ in range(count):
      state = rng.choice([s for s in states if any(runs.each_file(s))])
      yield damaged(folder, state, whole, kind, rng)


def damaged(
  folder: Path, state: Path, whole: Path, kind: str, rng: random.Random, name: str = ""
) -> Result:
  """One damage to a run in some state, to a file of a name or to any.

  Right is: the same bytes as ever; or a refusal in one line that names the file, or
  the checkpoint that it is of; or a line that names it and says what is lost, and
  everything else as ever.
  """
  workdir = runs.copied(state, folder / "damaged")
  choice = workdir / name if name else rng.choice(list(runs.each_file(workdir)))
  where = KINDS[kind](choice, rng)
  what = f"{state.name}: {choice.relative_to(workdir)} {where}"
  begun = time.monotonic()
  started = runs.start(workdir)
  status, seconds = started.end(), time.monotonic() - begun
  said = started.said()
  parts = choice.relative_to(workdir).parts
  thing = "/".join(parts[:2]) if parts[0] == "checkpoints" else choice.name
  named = any(thing in line for line in said.splitlines())
  outcome, wrong = "survived", ""
  if status == 2 and len(started.told()) == 1 and named:
    outcome = "refused"
  elif status or "Traceback" in said:
    wrong = f"status {status}: {said[-400:]}"
  else:
    other = runs.differences(workdir, whole)
    if other == [str(choice.relative_to(workdir))] and named:
      outcome = "said"
    elif other:
      wrong = f"other bytes: {', '.join(other)}"
  shutil.rmtree(workdir)
  return Result(kind, outcome, seconds, wrong=wrong, what=what)
