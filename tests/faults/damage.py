"""Files of a run with a flipped bit, cut short, or gone; then it is started again."""

import functools
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from . import kills, runs
from .table import Result
from .watch import Watch


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
_LOOKS = (".png", "statistics.json", "examples.npz")  # a run may do without them
_OFTEN = 4  # how much rather a file of a checkpoint is damaged than another one


def cases(folder: Path, short: bool) -> dict[str, kills.Case]:
  """Damages of each kind to files of a run that had ended, or was killed in a phase."""
  return {
    f"{kind} {number}": functools.partial(damaged, folder, kind, short)
    for kind in KINDS
    for number in range(1 if short else 100)
  }


def damaged(
  folder: Path, kind: str, short: bool, rng: random.Random
) -> Iterator[Result]:
  """One damage to a run in some state, to a file that its next start opens.

  Right is: the same bytes as ever; or a refusal in one line that names the file, or
  the checkpoint that it is of; or a line that names it and says what is lost, perhaps
  with what can be made of it, and everything else as ever.
  """
  whole, files = kills.whole(folder)[0], opened(folder, short)
  state = folder / rng.choice(sorted(files))
  workdir = runs.copied(state, folder / f"damaged-{os.getpid()}")
  choice = workdir / _chosen(files[state.name], rng)
  had, parts = runs.saved(workdir), choice.relative_to(workdir).parts
  what = f"{state.name}: {'/'.join(parts)} {KINDS[kind](choice, rng)}"
  begun = time.monotonic()
  started = runs.start(workdir)
  status, seconds = started.end(), time.monotonic() - begun
  said = started.said()
  thing = "/".join(parts[:2]) if parts[0] == "checkpoints" else choice.name
  named = any(thing in line for line in said.splitlines())
  outcome, wrong, lost = "survived", "", None
  if status == 2 and len(started.told()) == 1 and named:
    outcome = "refused"
  elif status or "Traceback" in said:
    wrong = f"status {status}: {said[-400:]}"
  else:
    other, lost = runs.differences(workdir, whole), had - runs.went_on_from(said, had)
    unsaid = [
      x for x in other
      if x != "/".join(parts) and ((workdir / x).exists() or not x.endswith(_LOOKS))
    ]  # fmt: skip
    if other and named and not unsaid:
      outcome = "said"
    elif other:
      wrong = f"other bytes: {', '.join(other)}"
  yield Result(kind, outcome, seconds, lost, wrong, what)


def opened(folder: Path, short: bool) -> dict[str, list[str]]:
  """The states that a run is damaged in, and the files that a start opens in each.

  What nobody opens proves nothing when it is damaged.
  """
  known = folder / "opened.json"
  if known.exists():
    return dict(json.loads(known.read_text()))
  whole, found = kills.whole(folder)[0], {}
  phases = kills.SHORT if short else tuple(kills.PHASES)
  if not all((folder / f"state-{phase}").exists() for phase in phases):
    list(kills.chain(folder, 1, random.Random(0), phases, keep=True))
  states = [whole, *sorted(folder.glob("state-*"))]
  for state in states[-1:] if short else states:
    workdir = runs.copied(state, folder / "watched")
    watch, started = Watch(workdir), runs.start(workdir)
    if wrong := runs.ended_well(started, workdir, whole):
      raise SystemExit(f"{state.name} does not go on: {wrong}")
    if names := watch.opened():
      found[state.name] = names
  shutil.rmtree(workdir)
  known.write_text(json.dumps(found, indent=1))
  return found


def _chosen(names: list[str], rng: random.Random) -> str:
  """One of some files: of each folder of a run as often, but for its checkpoints."""
  tops = sorted({name.split("/")[0] for name in names})
  often = [_OFTEN if top == "checkpoints" else 1 for top in tops]
  (top,) = rng.choices(tops, often)
  return rng.choice([name for name in names if name.split("/")[0] == top])
