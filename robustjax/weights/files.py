"""A file of weights, of whatever form, as arrays by name; it never runs code.

The form is told from the content, not from the file's name.
"""

import collections
import dataclasses
import hashlib
import io
import math
import pathlib
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from robustjax.errors import UserError
from robustjax.weights import pickled, safetensors, torchfiles
from robustjax.weights.pickled import Refused

Contents = tuple[dict[str, npt.NDArray[Any]], dict[str, str]]

GIB = 2**30
# Guesses: of the largest file, and of what its arrays may take: 2 GiB, and 8 times the
# file.
_LARGEST = 16 * GIB
_ROOM = 2 * GIB
_TIMES = 8

# How zipfile, json and NumPy report damage.
_DAMAGED = (
  ValueError,
  TypeError,
  AttributeError,
  LookupError,
  EOFError,
  OSError,
  RuntimeError,
  MemoryError,
  OverflowError,
  SyntaxError,
  struct.error,
  tokenize.TokenError,
  zipfile.BadZipFile,
  zlib.error,
)
_AGAIN = "fetch it again from where you have it, and compare the size"
# What other files begin with, in lower case, behind blanks.
_OTHERS = {
  b"<": f"it is a web page instead of weights: {_AGAIN}",
  b"version https://git-lfs": "it is a Git LFS pointer to the weights: git lfs pull",
  b"\x1f\x8b": "it is compressed with gzip: gunzip it first",
  b"bzh": "it is compressed with bzip2: bunzip2 it first",
  b"\xfd7zxz": "it is compressed with xz: unxz it first",
  b"(\xb5/\xfd": "it is compressed with zstd: unzstd it first",
  b"7z\xbc\xaf": "it is a 7z archive: unpack it first",
  b"rar!": "it is a RAR archive: unpack it first",
  b"\x93numpy": "it is one array: name an .npz file of all of them",
  b"\x89hdf": "it is an HDF5 file, which is not read here: save an .npz of its arrays",
  b"\x80": "it is a pickle, but none of torch.save: loading it may run code; if you"
  " trust it, torch.save its arrays",
  b"{": "it is JSON or other text instead of weights: " + _AGAIN,
}


@dataclasses.dataclass(frozen=True)
class File:
  """A file of weights.

  Attributes:
    path: of the file.
    form: "npz", "torch", "torch, legacy" or "safetensors".
    arrays: all of its arrays, read-only, of the file's types. The name of one in a
      PyTorch file is its path, "state_dict.module.conv1.weight" or
      "optimizer.state.0.momentum_buffer"; those of other forms are as stored.
    extras: of all else in the file a short text by path: "epoch" is "90", "arch" is
      "'resnet50'".
    sha256: of its bytes, in hexadecimal.
  """

  path: pathlib.Path
  form: str
  arrays: Mapping[str, npt.NDArray[Any]]
  extras: Mapping[str, str]
  sha256: str


def read(path: pathlib.Path) -> File:
  """Reads a file of weights: .npz of NumPy, torch.save's of any age, or safetensors.

  Of pickles, which may run code when they are loaded, only the data is read: see
  `pickles`. Objects of classes that are not known here are looked through for arrays.

  Args:
    path: of the file.

  Returns:
    Everything in it.

  Raises:
    UserError: it cannot be read, is of another form or damaged, holds Python objects
      or other things for arrays, or would need far more memory than its size.
  """
  content = _content(path)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # of odd escapes in names and in headers
      form, (arrays, extras) = _read(content)
    size = sum(array.nbytes for array in arrays.values())
    _limit("its arrays are", size, len(content))
    for array in arrays.values():
      array.flags.writeable = False
  except Refused as error:
    raise UserError(f"{path}: {error}") from error
  except _DAMAGED as error:
    why = " ".join(str(error).split())[:200] or type(error).__name__
    raise UserError(f"{path} is damaged ({why!r}): {_AGAIN}") from error
  if not arrays:
    few = ", ".join(f"{name} = {text}" for name, text in list(extras.items())[:3])
    raise UserError(
      f"{path} holds no array, only {few or 'nothing'}: name another file"
    )
  return File(path, form, arrays, extras, hashlib.sha256(content).hexdigest())


def _content(path: pathlib.Path) -> bytes:
  try:
    if not path.exists():
      raise UserError(f"{path} does not exist: name a file of weights that does")
    if not path.is_file():
      raise UserError(f"{path} is no file: name a file of weights")
    if path.stat().st_size > _LARGEST:
      raise UserError(
        f"{path} has {path.stat().st_size / GIB:.0f} GiB, which no network of here"
        " takes: save the weights alone"
      )
    return path.read_bytes()
  except OSError as error:
    why = error.strerror or error
    raise UserError(f"{path} cannot be read ({why}): name one that can") from error


def _read(content: bytes) -> tuple[str, Contents]:
  if not content:
    raise Refused(f"it is empty: {_AGAIN}")
  if content.startswith(b"PK"):
    return _read_zip(content)
  if torchfiles.MAGIC in content[:32]:
    return "torch, legacy", torchfiles.read_legacy(content)
  if content[5:9] == b"\0\0\0{":  # the header's length, and its first character
    return "safetensors", safetensors.read(content)
  start = content[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
  for word, what in _OTHERS.items():
    if start.startswith(word):
      raise Refused(what)
  if content[257:262] == b"ustar":
    raise Refused(
      "it is a tar archive: unpack it, and name a file of weights that was in it"
    )
  raise Refused(
    "it is no .npz, no file of torch.save and no safetensors: name one that is"
  )


def _limit(what: str, size: int, of_file: int) -> None:
  if size > _ROOM + _TIMES * of_file:
    raise Refused(
      f"{what} {size / GIB:,.1f} GiB, in a file of {of_file:,} bytes: {_AGAIN}"
    )


def _read_zip(content: bytes) -> tuple[str, Contents]:
  try:
    archive = zipfile.ZipFile(io.BytesIO(content))
  except zipfile.BadZipFile as error:
    raise Refused(
      f"it begins as a zip archive and does not end as one: {_AGAIN}"
    ) from error
  names = collections.Counter(archive.namelist())
  for name, count in names.items():
    if count > 1:
      raise Refused(f"it holds {name!r} {count} times: save it again")
  for info in archive.infolist():
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
      raise Refused(f"{info.filename!r} is compressed in a rare way: save it again")
  size = sum(info.file_size for info in archive.infolist())
  _limit("it unpacks to", size, len(content))
  if any(name.split("/")[-1] == "data.pkl" for name in names):
    return "torch", torchfiles.read_zip(archive)
  if any(name.endswith(".npy") for name in names):
    return "npz", _read_npz(archive)
  few = ", ".join(map(repr, list(names)[:3]))
  raise Refused(f"it is a zip archive of {few or 'nothing'}, not of weights: unpack it")


def _read_npz(archive: zipfile.ZipFile) -> Contents:
  arrays, extras = {}, {}
  for member in archive.namelist():
    name = member.removesuffix(".npy")
    if pickled.printable(name) == member:
      raise Refused(f"it holds {member!r}, which is no array: save it with np.savez")
    array = _array(name, archive.read(member))
    if array.dtype.kind in "US":
      extras[name] = pickled.text(array.ravel()[:9].tolist())
    else:
      arrays[name] = array
  return arrays, extras


def _array(name: str, content: bytes) -> npt.NDArray[Any]:
  """The array of a .npy file, whose bytes must be as many as its shape says."""
  file = io.BytesIO(content)
  version = np.lib.format.read_magic(file)
  readers = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
  }
  if version not in readers:
    raise Refused(f"{name} is of an unknown version of NumPy's format: save it again")
  shape, fortran, dtype = readers[version](file)
  if dtype.kind not in "biufcUS":
    raise Refused(f"{name} holds {dtype} instead of numbers: save it as float32")
  size, left = math.prod(shape) * dtype.itemsize, len(content) - file.tell()
  if size != left or min(shape, default=0) < 0:
    raise Refused(
      f"{name} {list(shape)} is of {size:,} bytes and has {left:,}: {_AGAIN}"
    )
  flat = (
    np.frombuffer(content, dtype, offset=file.tell()) if size else np.empty(0, dtype)
  )
  return flat.reshape(shape, order="F" if fortran else "C")
