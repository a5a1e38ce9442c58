"""Files of ours: written whole or not at all, put on the disk, read with a check."""

import contextlib
import hashlib
import io
import json
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from robustjax.errors import UserError

_PNG = b"\x89PNG\r\n\x1a\n"
MOST = 2**28  # bytes of a file of ours, and of what is packed in it
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


def is_picture(path: Path) -> bool:
  """Whether a PNG file is there and is what was written, by the sums in it."""
  picture = content(path) if path.is_file() else b""
  at, kind = 8, b""
  while picture.startswith(_PNG) and at + 12 <= len(picture) and kind != b"IEND":
    size, kind = int.from_bytes(picture[at : at + 4]), picture[at + 4 : at + 8]
    end = at + 8 + size
    if zlib.crc32(picture[at + 4 : end]) != int.from_bytes(picture[end : end + 4]):
      return False
    at = end + 4
  return kind == b"IEND" and at == len(picture)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
  """Writes an .npz file whole; the comment of a zip, its end, is a digest of the rest.

  The sums that a zip has by itself leave out its names and places.
  """
  made = io.BytesIO()
  np.savez_compressed(made, **arrays)
  rest = made.getvalue()[:-2]  # without the length of the comment, 0
  write_bytes(path, rest + _comment(rest))


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
  """The arrays that `write_arrays` wrote; older versions wrote no digest.

  Raises:
    OSError: it cannot be read.
    Damaged: it is not what was written.
  """
  whole = content(path)
  try:
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
      size, comment = sum(member.file_size for member in file.infolist()), file.comment
    if size > MOST:
      raise ValueError(f"{size:,} bytes")
    if comment and whole[-66:] != _comment(whole[:-66]):
      raise ValueError("it is not what was written")
    with np.load(io.BytesIO(whole), allow_pickle=False) as file:
      return {name: file[name] for name in file.files}
  except Exception as error:  # zipfile, zlib and numpy have many words for damage
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    raise Damaged(f"{path} is damaged ({reason})") from error


def _comment(rest: bytes) -> bytes:
  """The end of a zip: the length of the comment, and the digest that it is."""
  return b"\x40\0" + hashlib.sha256(rest).hexdigest().encode()


def write_json(path: Path, value: Mapping[str, Any], indent: int | None = 2) -> None:
  """Writes an object with a digest of it as its last value; people can read it."""
  whole = {**value, DIGEST: digest(value)}
  write_text(path, json.dumps(whole, indent=indent) + "\n")


def content(path: Path, most: int = MOST) -> bytes:
  """What is in a file; nothing that is no file, or too large to be ours, is read.

  Raises:
    OSError: it cannot be opened or read.
    Damaged: it is something else, such as a pipe, or larger than `most` bytes.
  """

  def opener(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)  # or a pipe would hold us

  if path.is_dir():
    raise Damaged(f"{path} is not a file")
  with open(path, "rb", opener=opener) as file:
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
      raise Damaged(f"{path} is not a file")
    if found.st_size > most:
      raise Damaged(f"{path} is damaged: it has {found.st_size:,} bytes")
    return file.read(most)


def read_json(path: Path, old: bool = True) -> dict[str, Any]:
  """The object that `write_json` wrote.

  Args:
    path: of the file.
    old: whether it may be from a version that wrote no digest.

  Raises:
    Damaged: it is no object, or not the one that was written.
  """
  try:
    value = json.loads(content(path))
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
