"""What a pickle holds, as data: classes for what is no plain value, and its leaves."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

# Guesses, far beyond what checkpoints hold, as the same object may be in many places.
DEEPEST = 64
MOST_PLACES = 300_000
LONGEST_NAME = 1_000

# How torch.nn.Module keeps what its state_dict() gives under the names alone.
_OF_A_MODULE = ("_parameters", "_buffers", "_modules")
_VERSIONS = "_metadata"  # a number for every module, which a state_dict() carries


class Refused(Exception):
  """Why a file cannot be read, and the remedy; its path is for others to add."""


@dataclasses.dataclass(eq=False, repr=False)
class Named:
  """A class or a function, which a pickle only names: "os.system"."""

  name: str


@dataclasses.dataclass(eq=False, repr=False)
class Object:
  """What a pickle would build by calling something; a dict is one named "dict".

  Attributes:
    name: of the class or the function that would have been called.
    args: its arguments.
    pairs: keys and values, as of a dict, in order; a key may be anything.
    items: as of a list.
    states: what its __setstate__ would have been given, usually its attributes.
  """

  name: str
  args: tuple[Any, ...] = ()
  pairs: list[tuple[Any, Any]] = dataclasses.field(default_factory=list)
  items: list[Any] = dataclasses.field(default_factory=list)
  states: list[Any] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(eq=False, repr=False)
class Storage:
  """Numbers of a PyTorch file that are outside of its pickle.

  Attributes:
    kind: "FloatStorage", or "UntypedStorage", which is of bytes.
    key: of the numbers in the file.
    count: how many there are.
    start: the first that belongs to this view of them.
    length: how many do.
  """

  kind: str
  key: str
  count: int
  start: int
  length: int


@dataclasses.dataclass(eq=False, repr=False)
class Tensor:
  """A tensor of PyTorch: elements of a storage.

  Attributes:
    storage: where they are.
    offset: of the first, in elements, as the strides.
    shape: its sizes.
    strides: as many.
    dtype: "uint16", or None for the storage's.
  """

  storage: Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]
  dtype: str | None = None


@dataclasses.dataclass(eq=False, repr=False)
class Unreadable:
  """Something that holds numbers which cannot be had: why not, and the remedy."""

  why: str


@dataclasses.dataclass(eq=False, repr=False)
class Dtype:
  """A type of NumPy: "f4", and the order of its bytes."""

  code: str
  order: str = "="


@dataclasses.dataclass(eq=False, repr=False)
class Array:
  """An array of NumPy; `value` comes after it was made, as pickles do it."""

  value: npt.NDArray[Any] | Object | Unreadable


def leaves(
  root: Any, resolve: Callable[[Tensor], npt.NDArray[Any]]
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
  """Finds all that a pickle holds, by path.

  A path is the keys of dicts, the names of attributes and the indices of lists and of
  arguments, joined with "."; in a torch.nn.Module it is that of its state_dict().

  Args:
    root: as `pickles.load` returns it.
    resolve: gives the array of a tensor.

  Returns:
    The arrays, and of all other leaves a short text; a short list of plain values is
    one leaf, and so is one of more values than a person would read.

  Raises:
    Refused: it is too deep or too much, two leaves have one path, or a path is no text
      that can be printed.
  """
  arrays: dict[str, npt.NDArray[Any]] = {}
  extras: dict[str, str] = {}
  for name, leaf in _Walk().leaves(root, "", []):
    if name in arrays or name in extras:
      raise Refused(f"two things in it are named {name}: save the weights alone")
    if isinstance(leaf, Unreadable):
      raise Refused(f"{name} is {leaf.why}")
    if isinstance(leaf, Tensor):
      try:
        arrays[name] = resolve(leaf)
      except Refused as error:
        raise Refused(f"{name}: {error}") from error
    elif isinstance(leaf, np.ndarray):
      arrays[name] = leaf
    else:
      extras[name] = text(leaf)
  return arrays, extras


class _Walk:
  """Goes through everything; what is in many places, many times."""

  def __init__(self) -> None:
    self._places = 0
    self._plain: dict[int, bool] = {}  # by id: a list that is told once is told fast

  def leaves(self, node: Any, path: str, above: list[int]) -> Iterator[tuple[str, Any]]:
    """Yields the path and the value of every leaf; `above` is what the node is in."""
    self._places += 1
    if self._places > MOST_PLACES:
      raise Refused(
        f"it holds more than {MOST_PLACES:,} values: save the weights alone"
      )
    if isinstance(node, Array):
      node = node.value
    if isinstance(node, Storage):
      node = Tensor(node, 0, (node.length,), (1,))
    if id(node) in above:
      yield path, Named("itself")
      return
    children = list(self._children(node))
    if not children:
      yield path or "value", node
    if len(above) > DEEPEST:
      raise Refused(f"it is nested more than {DEEPEST} deep: save the weights alone")
    for key, child in children:
      name = f"{path}.{key}" if path and key else path or key
      yield from self.leaves(child, printable(name), [*above, id(node)])

  def _children(self, node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, list | tuple):
      if not self._all_plain(node):
        yield from ((str(index), item) for index, item in enumerate(node))
    elif isinstance(node, Object):
      if not self._all_plain(node.args):
        yield from ((f"args.{index}", item) for index, item in enumerate(node.args))
      yield from ((str(index), item) for index, item in enumerate(node.items))
      yield from ((_key(key), value) for key, value in node.pairs)
      for state in node.states:
        yield from _attributes(state)

  def _all_plain(self, items: list[Any] | tuple[Any, ...]) -> bool:
    if id(items) not in self._plain:
      self._plain[id(items)] = all(map(_is_plain, items))
    return self._plain[id(items)]


def _attributes(state: Any) -> Iterator[tuple[str, Any]]:
  if isinstance(state, tuple) and len(state) == 2 and _is_dict(state[1]):
    yield from _attributes(state[0])
    yield from _attributes(state[1])  # those of __slots__
  elif _is_dict(state):
    for key, value in state.pairs:
      if isinstance(key, str) and key in _OF_A_MODULE and isinstance(value, Object):
        if value.pairs:
          yield "", value
      elif not (isinstance(key, str) and key == _VERSIONS):
        yield _key(key), value
  elif state is not None:
    yield "state", state


def _is_dict(value: Any) -> bool:
  return isinstance(value, Object) and value.name == "dict"


def _key(key: Any) -> str:
  return key if isinstance(key, str) else text(key)


def _is_plain(value: Any) -> bool:
  simple = bool | int | float | complex | str | bytes | bytearray | Named
  return value is None or isinstance(value, simple)


def printable(name: str) -> str:
  """A name, unless it is none of weights and could spoil a terminal: then `Refused`."""
  if len(name) > LONGEST_NAME or not name.isprintable():
    raise Refused(f"a name in it is no name of weights: {text(name)}")
  return name


def text(value: Any) -> str:
  """A value in few characters, all of them printable."""
  if isinstance(value, int) and value.bit_length() > 128:
    return f"an integer of {value.bit_length()} bits"
  if isinstance(value, str | bytes | bytearray):
    return repr(value) if len(value) <= 100 else f"{value[:100]!r}..."
  if isinstance(value, list | tuple):
    few = ", ".join(text(item) if _is_plain(item) else "..." for item in value[:8])
    more = f", ... {len(value)} in all" if len(value) > 8 else ""
    one = "," if isinstance(value, tuple) and len(value) == 1 else ""
    return f"({few}{more}{one})" if isinstance(value, tuple) else f"[{few}{more}]"
  if isinstance(value, Named):
    return f"<{text(value.name)[1:-1]}>"
  if isinstance(value, Object):
    args = text(value.args) if value.args else ""
    return "{}" if _is_dict(value) else f"<{text(value.name)[1:-1]}{args}>"
  return repr(value) if _is_plain(value) else f"<{type(value).__name__}>"
