"""A disk that is full after so many bytes: a small tmpfs, mounted by root."""

import functools
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

from . import kills, runs
from .table import NOT_TRIED, Result

_PAGE = 4096
_BYTES, _NAMES = "a full disk", "a disk without a free inode"
_MAY_NOT = "whoever may mount nothing has none"


def cases(folder: Path, short: bool) -> dict[str, kills.Case]:
  """Runs on disks of which even the largest does not hold all; then there is room."""
  if not possible(folder):
    return {what: functools.partial(not_tried, what) for what in (_BYTES, _NAMES)}
  if short:
    return {"short": functools.partial(full, folder, _BYTES, 0.5)}
  return {
    f"{what} {place}": functools.partial(full, folder, what, place / (places + 1))
    for what, places in {_BYTES: 10, _NAMES: 5}.items()
    for place in range(1, places + 1)
  }


def full(folder: Path, what: str, share: float, rng: random.Random) -> Iterator[Result]:
  """A run on a disk for a share of what it needs, and on the same one when larger."""
  whole, disk = kills.whole(folder)[0], folder / "disk"
  limits = _limits(whole, share)
  limit = limits[what]
  disk.mkdir(exist_ok=True)
  _mount("-t", "tmpfs", "-o", f"size=1g,{limit}", "tmpfs", disk)
  try:
    started = runs.start(disk / "run", logs=folder)
    status, seconds = started.end(), started.seconds()
    said, wrong = started.said(), ""
    outcome = "refused" if status == 2 else "survived"
    if status not in (0, 2) or "Traceback" in said or "HUNG" in said:
      wrong = f"status {status}: {said[-400:]}"
    if status == 2 and len(started.told()) != 1:
      wrong = f"{len(started.told())} lines: {said[-400:]}"
    lost = runs.lost(disk / "run")
    _mount("-o", "remount,size=1g,nr_inodes=100000", disk)
    last = runs.start(disk / "run", logs=folder)
    last_wrong = runs.ended_well(last, disk / "run", whole)  # it is waited for
    wrong = wrong or last_wrong
  finally:
    subprocess.run(["umount", "--lazy", disk], check=True)
  yield Result(what, outcome, seconds, lost, wrong, limit)


def not_tried(what: str, rng: random.Random) -> Iterator[Result]:
  """What the table says where no disk can be made."""
  yield Result(what, NOT_TRIED, 0.0, what=_MAY_NOT)


def possible(folder: Path) -> bool:
  """Whether this user may mount."""
  try:
    _mount("-t", "tmpfs", "tmpfs", folder)
  except (OSError, subprocess.CalledProcessError):
    return False
  subprocess.run(["umount", folder], check=True)
  return True


def _limits(whole: Path, share: float) -> dict[str, str]:
  """How a disk is mounted that has a share of what a run needs of something."""
  found = list(runs.each_file(whole))
  need = sum(-(-p.stat().st_size // _PAGE) * _PAGE for p in found)
  inodes = sum(len(names) + len(files) for _, names, files in os.walk(whole))
  return {
    _BYTES: f"size={int(need * share)}",
    _NAMES: f"nr_inodes={int(inodes * share)}",
  }


def _mount(*words: object) -> None:
  subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)
