"""Files of ours: written whole or not at all, put on the disk, read with a check."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from robustjax.errors import UserError

DIGEST = "sha256"  # the last value of a JSON object of ours: of all before it


class Damaged(UserError):
  """A file of ours does not hold what was written."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
  """A file that takes its place when it is whole and on the disk, not before.

  Whenever the process or the machine dies, `path` has either its old or its new bytes.
  """
  part = path.with_name(path.name + ".part")
  try:
    with part.open("wb") as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    part.replace(path)
  except BaseException:
    with contextlib.suppress(OSError):
      part.unlink(missing_ok=True)  # on a full disk it is in the way
    raise
  sync(path.parent)


def sync(folder: Path) -> None:
  """Puts the names in a folder on the disk, where the file system has such a call."""
  with contextlib.suppress(OSError):
    number = os.open(folder, os.O_RDONLY)
    try:
      os.fsync(number)
    finally:
      os.close(number)


def write_bytes(path: Path, content: bytes) -> None:
  """Writes a file whole."""
  with replacing(path) as file:
    file.write(content)


def write_text(path: Path, text: str) -> None:
  """Writes a text whole."""
  write_bytes(path, text.encode())


def write_picture(path: Path, figure: Any) -> None:
  """Writes a matplotlib figure whole, as PNG."""
  with replacing(path) as file:
    figure.savefig(file, dpi=150, format="png")


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
  """Writes a .npy file whole."""
  with replacing(path) as file:
    np.save(file, array, allow_pickle=False)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
  """Writes an .npz file whole."""
  with replacing(path) as file:
    np.savez_compressed(file, **arrays)


def write_json(path: Path, value: Mapping[str, Any], indent: int | None = 2) -> None:
  """Writes an object with a digest of it as its last value; people can read it."""
  whole = {**value, DIGEST: digest(value)}
  write_text(path, json.dumps(whole, indent=indent) + "\n")


def read_json(path: Path, old: bool = True) -> dict[str, Any]:
  """The object that `write_json` wrote.

  Args:
    path: of the file.
    old: whether it may be from a version that wrote no digest.

  Raises:
    Damaged: it is no object, or not the one that was written.
  """
  try:
    value = json.loads(path.read_bytes())
  except (ValueError, RecursionError):
    value = None
  if not isinstance(value, dict):
    raise Damaged(f"{path} is damaged: move it away and start again")
  written = value.pop(DIGEST, None)
  if written != digest(value) and not (old and written is None):
    raise Damaged(
      f"{path} is not what was written, or was changed by hand: move it away and"
      " start again"
    )
  return value


def digest(value: Mapping[str, Any]) -> str:
  """The SHA-256 of an object's JSON, in which tuples are lists and keys are sorted."""
  plain = {name: v for name, v in value.items() if name != DIGEST}
  return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def set_aside(path: Path) -> Path:
  """Renames a damaged file or folder so that it is in nobody's way; nothing is lost.

  Returns:
    Its new path: the old name with ".damaged" behind it, and a number if there is one.
  """
  for number in range(1, 1000):
    to = path.with_name(f"{path.name}.damaged" + (f"-{number}" if number > 1 else ""))
    if not to.exists():
      path.rename(to)
      sync(path.parent)
      return to
  raise UserError(f"{path.parent} is full of damaged files: see what damages them")
