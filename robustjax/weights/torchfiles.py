"""PyTorch's files: what torch.save writes, in the form of today and of before 1.6."""

import io
import math
import pathlib
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from robustjax.errors import UserError
from robustjax.runtime import files
from robustjax.weights import pickled, pickles
from robustjax.weights.pickled import Object, Refused, Storage, Tensor

Arrays = dict[str, npt.NDArray[Any]]

# torch.serialization.MAGIC_NUMBER as a pickle holds it, and the first bytes before it.
MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"
_PROTOCOL = 1001

_DTYPES = {
  "Float": np.dtype(np.float32),
  "Double": np.dtype(np.float64),
  "Half": np.dtype(np.float16),
  "BFloat16": np.dtype(jnp.bfloat16),
  "Long": np.dtype(np.int64),
  "Int": np.dtype(np.int32),
  "Short": np.dtype(np.int16),
  "Char": np.dtype(np.int8),
  "Byte": np.dtype(np.uint8),
  "Bool": np.dtype(np.bool_),
  "ComplexFloat": np.dtype(np.complex64),
  "ComplexDouble": np.dtype(np.complex128),
}
_BY_NAME = {str(dtype): dtype for dtype in _DTYPES.values()} | {
  name: np.dtype(name) for name in ("uint16", "uint32", "uint64")
}


def read_zip(archive: zipfile.ZipFile) -> tuple[Arrays, dict[str, str]]:
  """Reads what torch.save has written since PyTorch 1.6.

  Args:
    archive: whose names are all different and whose sizes are no threat to memory.

  Returns:
    The arrays, read-only, by path, and a short text of all else, as `pickled.leaves`.

  Raises:
    Refused: it holds no pickle or several, or one that is damaged or does not fit the
      numbers.
  """
  sizes = {info.filename: info.file_size for info in archive.infolist()}
  pickle, *others = [name for name in sizes if name.split("/")[-1] == "data.pkl"]
  if others:
    raise Refused("it holds several files of torch.save: unpack the right one")
  root = pickle.removesuffix("data.pkl")
  if f"{root}byteorder" in sizes and archive.read(f"{root}byteorder") != b"little":
    raise Refused("it is of a big-endian machine: save it again on a usual one")
  found: dict[str, bytes] = {}

  def numbers(storage: Storage, size: int) -> bytes:
    name = f"{root}data/{storage.key}"
    if name not in sizes:
      raise Refused(f"its numbers, {name!r}, are missing: fetch the file again")
    if sizes[name] != size:
      raise Refused(
        f"it is of {size} bytes, but {name!r} has {sizes[name]}: fetch the file again"
      )
    if name not in found:
      found[name] = archive.read(name)
    return found[name]

  return _arrays(pickles.load(io.BytesIO(archive.read(pickle))), numbers)


def read_legacy(content: bytes) -> tuple[Arrays, dict[str, str]]:
  """Reads what torch.save wrote before PyTorch 1.6.

  Args:
    content: the file: pickles of a magic number, the protocol, the machine, the object
      and the keys of its storages; and each storage, its length before its numbers.

  Returns, Raises:
    As `read_zip`.
  """
  file = io.BytesIO(content)
  _, protocol, machine = (pickles.load(file) for _ in range(3))
  if protocol != _PROTOCOL:
    raise Refused("it is of an unknown version of torch.save: save it again")
  pairs = machine.pairs if isinstance(machine, Object) else []
  if not any(
    isinstance(k, str) and k == "little_endian" and v is True for k, v in pairs
  ):
    raise Refused("it is of a big-endian machine: save it again on a usual one")
  storages: list[Storage] = []
  root = pickles.load(file, storages)
  keys = pickles.load(file)
  if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
    raise Refused("its list of storages is damaged: fetch the file again")
  places = _places(content, file.tell(), keys, {s.key: s for s in storages})
  return _arrays(root, lambda storage, _: places[storage.key])


def _places(
  content: bytes, start: int, keys: list[str], storages: Mapping[str, Storage]
) -> dict[str, memoryview]:
  """Finds the numbers behind the pickles of the old form, by their keys."""
  if len(set(keys)) < len(keys) or set(keys) != set(storages):
    raise Refused("its list of storages is another than it uses: fetch it again")
  places = {}
  for key in keys:
    storage = storages[key]
    count = int.from_bytes(content[start : start + 8], "little")
    if count != storage.count:
      raise Refused(
        f"its storage {key!r} is of {count} numbers instead of {storage.count}: fetch"
        " the file again"
      )
    end = start + 8 + count * _dtype(storage.kind).itemsize
    if end > len(content):
      break
    places[key] = memoryview(content)[start + 8 : end]
    start = end
  if len(places) < len(keys) or start < len(content):
    raise Refused(
      f"it has {len(content):,} bytes, which hold {len(places)} of its {len(keys)}"
      f" storages and {len(content) - start:,} more: fetch it again"
    )
  return places


def _arrays(
  root: Any, numbers: Callable[[Storage, int], bytes | memoryview]
) -> tuple[Arrays, dict[str, str]]:
  """All that the pickle holds; `numbers` gives a storage's bytes, of a size."""

  def resolve(tensor: Tensor) -> npt.NDArray[Any]:
    storage = tensor.storage
    dtype = _dtype(storage.kind)
    content = numbers(storage, storage.count * dtype.itemsize)
    start, end = (n * dtype.itemsize for n in (storage.start, storage.length))
    view = memoryview(content)[start : start + end]
    return _view(tensor, view, _named(tensor.dtype) if tensor.dtype else dtype)

  return pickled.leaves(root, resolve)


def _view(
  tensor: Tensor, content: memoryview, dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
  """The elements of a storage that are a tensor."""
  if 0 in tensor.shape:
    return np.empty(tensor.shape, dtype)
  steps = zip(tensor.shape, tensor.strides, strict=True)
  last = tensor.offset + sum((size - 1) * stride for size, stride in steps)
  if last * dtype.itemsize + dtype.itemsize > len(content):
    raise Refused(
      f"it reaches to element {last} of {len(content) // dtype.itemsize}: fetch the"
      " file again"
    )
  strides = [stride * dtype.itemsize for stride in tensor.strides]
  offset = tensor.offset * dtype.itemsize
  return np.ndarray(tensor.shape, dtype, content, offset, strides)


def _dtype(kind: str) -> np.dtype[Any]:
  name = kind.removesuffix("Storage")
  if name == "Untyped":
    return np.dtype(np.uint8)
  if name not in _DTYPES:
    raise Refused(
      f"it is a quantised or another tensor ({kind}): save its dequantize()"
    )
  return _DTYPES[name]


def _named(name: str) -> np.dtype[Any]:
  if name not in _BY_NAME:
    raise Refused(f"it is of the type {name!r}: save its float()")
  return _BY_NAME[name]


def write(
  path: pathlib.Path,
  arrays: Mapping[str, npt.NDArray[Any]],
  attributes: Mapping[str, str] | None = None,
) -> None:
  """Writes a state dict, which torch.load(path, weights_only=True) reads.

  Args:
    path: of the file; one that is there is replaced.
    arrays: by the names of the state dict, in its order. The same arrays are the same
      bytes.
    attributes: of the OrderedDict, which PyTorch passes over; `read_zip` finds them.

  Raises:
    UserError: an array is of a type that PyTorch does not have.
  """
  archive = io.BytesIO()
  with zipfile.ZipFile(archive, "w") as out:
    pickle = _state_dict(arrays, attributes or {})
    members = {"data.pkl": pickle, "byteorder": b"little"}
    for index, array in enumerate(arrays.values()):
      members[f"data/{index}"] = np.ascontiguousarray(array).tobytes()
    members["version"] = b"3\n"
    for name, content in members.items():
      out.writestr(zipfile.ZipInfo(f"archive/{name}"), content)
  with files.replacing(path) as file:
    file.write(archive.getbuffer())


def _state_dict(
  arrays: Mapping[str, npt.NDArray[Any]], attributes: Mapping[str, str]
) -> bytes:
  """A pickle of an OrderedDict of tensors, as torch.save would write it."""
  kinds = {dtype: name for name, dtype in _DTYPES.items()}
  ordered = b"ccollections\nOrderedDict\n)R"
  parts = [b"\x80\x02", ordered, b"("]
  for index, (name, array) in enumerate(arrays.items()):
    if array.dtype not in kinds:
      raise UserError(f"{name} is of {array.dtype}, which PyTorch has not: convert it")
    strides = [math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
    kind = f"ctorch\n{kinds[array.dtype]}Storage\n".encode()
    parts += [_text(name), b"ctorch._utils\n_rebuild_tensor_v2\n("]
    parts += [b"(", _text("storage"), kind, _text(str(index)), _text("cpu")]
    parts += [_integer(array.size), b"tQ", _integer(0)]
    for sizes in (array.shape, strides):
      parts += [b"(", *(_integer(size) for size in sizes), b"t"]
    parts += [b"\x89", ordered, b"tR"]
  parts.append(b"u")
  if attributes:
    words = [_text(word) for pair in attributes.items() for word in pair]
    parts += [b"}(", *words, b"ub"]
  return b"".join([*parts, b"."])


def _text(string: str) -> bytes:
  content = string.encode()
  return b"X" + struct.pack("<I", len(content)) + content


def _integer(value: int) -> bytes:
  return b"\x8a\x08" + struct.pack("<q", value)  # LONG1, of 8 bytes
