"""What the calls in a pickle would give, told from names without calling anything."""

import re
from typing import Any

import numpy as np

from robustjax.weights.pickled import (
  Array,
  Dtype,
  Named,
  Object,
  Storage,
  Tensor,
  Unreadable,
)

_MOST_DIMENSIONS = 32  # of NumPy 1; NumPy 2 has 64
_NUMBERS = re.compile(r"b1|[iu][1248]|f[248]|c8|c16")  # codes of NumPy
_DENSE = "no plain dense tensor ({}): save its dequantize() or to_dense(), on the CPU"
_OBJECTS = "an array of Python objects or other things than numbers: save numbers"


def check(right: bool, what: str) -> None:
  """Raises what `pickles.load` reports as damage."""
  if not right:
    raise ValueError(what)


def modern(name: str) -> str:
  """The name that a class or function of Python 2 or of another NumPy has today."""
  for old, new in (
    ("__builtin__.", "builtins."),
    ("copy_reg.", "copyreg."),
    ("numpy.core.", "numpy._core."),
  ):
    if name.startswith(old):
      return new + name.removeprefix(old)
  return name


class Calls:
  """Tells what calls would give.

  Args:
    size: of the pickle, in bytes. What is copied may be as much: a few bytes cannot
      have the same text copied again and again.
  """

  def __init__(self, size: int):
    self._to_copy = size

  def result(self, function: Any, args: Any) -> Any:
    """What a call would give: known from the function's name, or an `Object`."""
    check(isinstance(args, tuple), "arguments that are no tuple")
    name = function.name if isinstance(function, Named | Object) else "unnamed"
    if name == "copyreg._reconstructor":
      check(isinstance(args[0], Named), "an object without a class")
      if isinstance(args[2], Object):  # what a class of one's own has of a dict
        return Object(args[0].name, pairs=args[2].pairs)
      name, args = args[0].name, args[2:] if args[2] is not None else ()
    if name == "torch._tensor._rebuild_from_type_v2":
      check(isinstance(args[0], Named) and isinstance(args[2], tuple), "an odd tensor")
      name, args = args[0].name, args[2]
    if name.startswith("torch._utils._rebuild_"):
      return _tensor(name.removeprefix("torch._utils._rebuild_"), args)
    if name in ("collections.OrderedDict", "builtins.dict"):
      return self._dict(*args)
    if name in ("builtins.set", "builtins.frozenset", "builtins.list", "torch.Size"):
      return args[0] if args else []
    if name in ("_codecs.encode", "builtins.bytes"):
      return self._bytes(*args)
    return self._of_numpy(name, args)

  def _of_numpy(self, name: str, args: tuple[Any, ...]) -> Any:
    if name == "numpy._core.multiarray._reconstruct":
      return Array(Unreadable("an array without numbers: save it again"))
    if name == "numpy._core.numeric._frombuffer":
      data, dtype, shape, order = args
      return Array(self.array(shape, dtype, order, data))
    if name == "numpy._core.multiarray.scalar":
      value = self.array((), args[0], "C", args[1])
      return value.item() if isinstance(value, np.ndarray) else Object("numpy.generic")
    if name == "numpy.dtype":
      check(len(args) > 0 and isinstance(args[0], str), "a dtype of no name")
      return Dtype(args[0])
    return Object(name, args)

  def _copy(self, size: int) -> None:
    self._to_copy -= size
    check(self._to_copy >= 0, "the same again and again")

  def _dict(self, pairs: Any = ()) -> Object:
    if isinstance(pairs, Object):
      pairs = pairs.pairs
    check(isinstance(pairs, list | tuple), "a dict of no pairs")
    self._copy(len(pairs))
    check(all(isinstance(pair, list | tuple) for pair in pairs), "a dict of no pairs")
    return Object("dict", pairs=[(key, value) for key, value in pairs])

  def _bytes(self, string: Any = "", coding: Any = "latin1") -> bytes:
    check(isinstance(string, str) and coding in ("latin1", "latin-1"), "odd bytes")
    self._copy(len(string))
    return string.encode("latin1")

  def array(self, shape: Any, dtype: Any, order: str, data: Any) -> Any:
    """An array of NumPy, as a view of the pickle's bytes where they are bytes."""
    check(_are_sizes(shape) and isinstance(dtype, Dtype), "an array of no shape")
    check(isinstance(dtype.code, str) and isinstance(dtype.order, str), "an odd dtype")
    if dtype.code[:1] in ("U", "S"):
      return Object("numpy.ndarray of text")
    if not _NUMBERS.fullmatch(dtype.code) or dtype.order not in ("<", ">", "=", "|"):
      return Unreadable(_OBJECTS)
    if isinstance(data, str):  # Python 2's
      data = self._bytes(data)
    check(isinstance(data, bytes | bytearray), "an array of no bytes")
    flat = np.frombuffer(data, np.dtype(dtype.order + dtype.code))
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _are_sizes(values: Any) -> bool:
  return (
    isinstance(values, tuple | list)
    and len(values) <= _MOST_DIMENSIONS
    and all(type(value) is int and 0 <= value < 2**48 for value in values)
  )


def _tensor(function: str, args: tuple[Any, ...]) -> Any:
  """What torch._utils._rebuild_* would give."""
  if function in ("parameter", "parameter_with_state"):
    return args[0]
  if function not in ("tensor", "tensor_v2", "tensor_v3"):
    return Unreadable(_DENSE.format(function))
  storage, offset, shape, strides, *rest = args
  if not isinstance(storage, Storage):
    return Unreadable("a tensor whose numbers are elsewhere: save it with torch.save")
  check(_are_sizes([offset]) and _are_sizes(shape), "a tensor of no shape")
  check(_are_sizes(strides) and len(strides) == len(shape), "a tensor of no strides")
  dtype = None
  if function == "tensor_v3":
    check(isinstance(rest[2], Named), "a tensor of no type")
    dtype = rest[2].name.removeprefix("torch.")
  return Tensor(storage, offset, tuple(shape), tuple(strides), dtype)
