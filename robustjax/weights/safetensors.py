"""Files of safetensors: a header of JSON, and the numbers.

Format: https://github.com/huggingface/safetensors#format. The package of that name has
no bfloat16 for NumPy, and the format needs no more than this.
"""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from robustjax.runtime import files
from robustjax.weights import pickled
from robustjax.weights.pickled import Refused

_LONGEST_HEADER = 100_000_000  # of the format
_DTYPES = {
  "F64": np.dtype(np.float64),
  "F32": np.dtype(np.float32),
  "F16": np.dtype(np.float16),
  "BF16": np.dtype(jnp.bfloat16),
  "I64": np.dtype(np.int64),
  "I32": np.dtype(np.int32),
  "I16": np.dtype(np.int16),
  "I8": np.dtype(np.int8),
  "U64": np.dtype(np.uint64),
  "U32": np.dtype(np.uint32),
  "U16": np.dtype(np.uint16),
  "U8": np.dtype(np.uint8),
  "BOOL": np.dtype(np.bool_),
}


def read(content: bytes) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
  """Reads a file.

  Args:
    content: the file.

  Returns:
    The arrays, read-only, by name, and a short text of what else the header says.

  Raises:
    Refused: it is truncated, or its header does not describe the numbers exactly. Of a
      header that is none, what json raises.
  """
  length = int.from_bytes(content[:8], "little")
  if length > min(_LONGEST_HEADER, len(content) - 8):
    raise Refused(
      f"begins as safetensors whose header is of {length:,} bytes, but has"
      f" {len(content):,}: fetch it again"
    )
  header = json.loads(content[8 : 8 + length], object_pairs_hook=_unique)
  if not isinstance(header, dict):
    raise ValueError("a header that is no object")
  metadata = header.pop("__metadata__", {})
  numbers = memoryview(content)[8 + length :]
  arrays, end = {}, 0
  for name, entry in sorted(header.items(), key=_place):
    if _place((name, entry))[0] != end:
      raise Refused(f"{name} does not begin where another ends: save it again")
    arrays[pickled.printable(name)] = _array(name, entry, numbers[end:])
    end += arrays[name].nbytes
  if end != len(numbers):
    raise Refused(
      f"its header describes {end:,} bytes of {len(numbers):,}: fetch it again"
    )
  return arrays, {
    pickled.printable(f"__metadata__.{key}"): pickled.text(value)
    for key, value in metadata.items()
  }


def write(
  path: pathlib.Path,
  arrays: Mapping[str, npt.NDArray[Any]],
  metadata: Mapping[str, str],
) -> None:
  """Writes a file; the same arrays are the same bytes.

  Args:
    path: of the file; one that is there is replaced.
    arrays: by name, in the order of the file.
    metadata: short texts by name.
  """
  kinds = {dtype: name for name, dtype in _DTYPES.items()}
  header: dict[str, Any] = {"__metadata__": dict(metadata)}
  end = 0
  for name, array in arrays.items():
    start, end = end, end + array.nbytes
    header[name] = {
      "dtype": kinds[array.dtype],
      "shape": list(array.shape),
      "data_offsets": [start, end],
    }
  text = json.dumps(header).encode()
  text += b" " * (-len(text) % 8)  # numbers begin at a multiple of 8
  with files.replacing(path) as file:
    file.write(len(text).to_bytes(8, "little") + text)
    for array in arrays.values():
      file.write(np.ascontiguousarray(array).tobytes())


def _place(item: tuple[str, Any]) -> tuple[int, int]:
  start, end = item[1]["data_offsets"]
  return int(start), int(end)


def _array(name: str, entry: Any, numbers: memoryview) -> npt.NDArray[Any]:
  """The array that the numbers begin with."""
  kind, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
  if kind not in _DTYPES:
    raise Refused(f"{name} is of the type {kind!r}: save it as F32")
  if not all(type(size) is int and size >= 0 for size in shape):
    raise Refused(f"{name} has the shape {pickled.text(shape)}: save it again")
  dtype = _DTYPES[kind]
  size = math.prod(shape) * dtype.itemsize
  have = min(end - start, len(numbers))
  if size != end - start or size != have:
    raise Refused(
      f"{name} {shape} is of {size:,} bytes and has {have:,}: fetch it again"
    )
  return np.frombuffer(numbers[:size], dtype).reshape(shape)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  found = dict(pairs)
  if len(found) < len(pairs):
    raise Refused("its header names the same array twice: save it again")
  return found
