"""A disk that is full after so many bytes: a small tmpfs, mounted by root."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from . import runs
from .table import Result

_PAGE = 4096
FAULT = "a full disk"


def disks(folder: Path, whole: Path, places: int) -> Iterator[Result]:
  """Runs on disks of which even the largest does not hold all; then there is room."""
  need = sum(-(-p.stat().st_size // _PAGE) * _PAGE for p in runs.each_file(whole))
  for place in range(1, places + 1):
    yield full(folder, whole, need * place // (places + 1))


def full(folder: Path, whole: Path, size: int) -> Result:
  """A run on a disk of so many bytes, and on the same one when it is larger."""
  disk = folder / "disk"
  disk.mkdir(exist_ok=True)
  _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk)
  try:
    started = runs.start(disk / "run", logs=folder)
    status, seconds = started.end(), time.monotonic() - started.begun
    said, wrong = started.said(), ""
    outcome = "refused" if status == 2 else "survived"
    if status not in (0, 2) or "Traceback" in said or "HUNG" in said:
      wrong = f"status {status}: {said[-400:]}"
    if status == 2 and len(started.told()) != 1:
      wrong = f"{len(started.told())} lines: {said[-400:]}"
    _mount("-o", "remount,size=1g", disk)
    last = runs.start(disk / "run", logs=folder)
    wrong = wrong or runs.ended_well(last, disk / "run", whole)
  finally:
    subprocess.run(["umount", "--lazy", disk], check=True)
  return Result(FAULT, outcome, seconds, wrong=wrong, what=f"{size} bytes")


def possible(folder: Path) -> bool:
  """Whether this user may mount."""
  try:
    _mount("-t", "tmpfs", "tmpfs", folder)
  except (OSError, subprocess.CalledProcessError):
    return False
  subprocess.run(["umount", folder], check=True)
  return True


def _mount(*words: object) -> None:
  subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)
