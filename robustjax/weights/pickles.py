"""Pickles read as data: nothing that they name is imported, called or built.

`pickletools` of the standard library splits a pickle into opcodes without acting on
them. This interpreter of the opcodes knows plain Python values, tensors of PyTorch and
arrays of NumPy. All else that a pickle would build is kept as an `Object`: its name,
and what would have gone into it.
"""

import pickletools
from collections.abc import Callable
from typing import IO, Any

from robustjax.weights.calls import Calls, check, modern
from robustjax.weights.pickled import (
  Array,
  Dtype,
  Named,
  Object,
  Refused,
  Storage,
  Tensor,
)

MOST_OPCODES = 3_000_000  # a guess: a ResNet-152 with its optimizer takes 43,000


def load(file: IO[bytes], storages: list[Storage] | None = None) -> Any:
  """Reads one pickle, from where the file is to the pickle's end.

  Args:
    file: in memory, as what a pickle says of its sizes may be wrong.
    storages: to which all that the pickle names are added.

  Returns:
    None, bool, int, float, str, bytes, list, tuple, or a class of `pickled`. A set is a
    list and a frozenset a tuple. What is in several places of the pickle is one object
    here too, and may be within itself.

  Raises:
    Refused: it is damaged, or has more than `MOST_OPCODES`.
  """
  here = file.tell()
  machine = _Machine(file.seek(0, 2) - here, [] if storages is None else storages)
  file.seek(here)
  try:
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
      if count > MOST_OPCODES:
        raise Refused(
          f"its pickle has more than {MOST_OPCODES:,} opcodes: save the weights alone"
        )
      machine.do(opcode.name, argument)
    return machine.stack.pop()
  except (IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
    why = str(error)[:100]
    raise Refused(f"its pickle is damaged ({why!r}): fetch or save it again") from error


class _Machine:
  """The stack, the marks in it and the memo.

  Args:
    size: of what there is to read, in bytes.
    storages: to which all that are named are added.
  """

  def __init__(self, size: int, storages: list[Storage]):
    self.stack: list[Any] = []
    self._marks: list[int] = []
    self._memo: dict[int, Any] = {}
    self._calls = Calls(size)
    self._storages = storages

  def do(self, name: str, argument: Any) -> None:
    """Does what one opcode asks for, or raises what `load` catches."""
    if name in _VALUES:
      self.stack.append(argument)
    elif name in _CONSTANTS:
      self.stack.append(_CONSTANTS[name]())
    else:
      check(name in _ACTIONS, f"unexpected {name}")
      _ACTIONS[name](self, argument)

  def _nothing(self, _: Any) -> None:
    pass

  def _put(self, index: int | None) -> None:
    self._memo[len(self._memo) if index is None else int(index)] = self.stack[-1]

  def _get(self, index: int) -> None:
    self.stack.append(self._memo[int(index)])

  def _mark(self, _: None) -> None:
    self._marks.append(len(self.stack))

  def _since_mark(self) -> list[Any]:
    start = self._marks.pop()
    items = self.stack[start:]
    del self.stack[start:]
    return items

  def _pop(self, _: None) -> None:
    if self._marks and self._marks[-1] == len(self.stack):
      self._marks.pop()
    else:
      self.stack.pop()

  def _pop_mark(self, _: None) -> None:
    self._since_mark()

  def _dup(self, _: None) -> None:
    self.stack.append(self.stack[-1])

  def _list(self, _: None) -> None:
    self.stack.append(self._since_mark())

  def _tuple(self, _: None) -> None:
    self.stack.append(tuple(self._since_mark()))

  def _take(self, count: int) -> None:
    check(len(self.stack) >= count, "an empty stack")
    self.stack[-count:] = [tuple(self.stack[-count:])]

  def _dict(self, _: None) -> None:
    items = self._since_mark()
    self.stack.append(Object("dict"))
    self._set(items)

  def _append(self, _: None) -> None:
    self._extend([self.stack.pop()])

  def _appends(self, _: None) -> None:
    self._extend(self._since_mark())

  def _extend(self, items: list[Any]) -> None:
    target = self.stack[-1]
    check(isinstance(target, list | Object), "items without a list")
    (target.items if isinstance(target, Object) else target).extend(items)

  def _setitem(self, _: None) -> None:
    value, key = self.stack.pop(), self.stack.pop()
    self._set([key, value])

  def _setitems(self, _: None) -> None:
    self._set(self._since_mark())

  def _set(self, items: list[Any]) -> None:
    check(isinstance(self.stack[-1], Object), "keys without a dict")
    self.stack[-1].pairs.extend(zip(items[::2], items[1::2], strict=True))

  def _global(self, name: str) -> None:
    self.stack.append(Named(modern(name.replace(" ", "."))))

  def _stack_global(self, _: None) -> None:
    name, module = self.stack.pop(), self.stack.pop()
    for part in (module, name):  # which may be long and used again and again
      check(isinstance(part, str) and len(part) < 1000, "a name of no function")
    self.stack.append(Named(modern(f"{module}.{name}")))

  def _inst(self, name: str) -> None:
    args = tuple(self._since_mark())
    self.stack.append(self._calls.result(Named(modern(name.replace(" ", "."))), args))

  def _obj(self, _: None) -> None:
    function, *args = self._since_mark()
    self.stack.append(self._calls.result(function, tuple(args)))

  def _reduce(self, _: None) -> None:
    args, function = self.stack.pop(), self.stack.pop()
    self.stack.append(self._calls.result(function, args))

  def _newobj_ex(self, _: None) -> None:
    named, args, function = (self.stack.pop() for _ in range(3))
    made = self._calls.result(function, args)
    if isinstance(made, Object) and isinstance(named, Object):
      made.states.append(named)
    self.stack.append(made)

  def _binpersid(self, _: None) -> None:
    found = _storage(self.stack.pop())
    if isinstance(found, Storage):
      self._storages.append(found)
    self.stack.append(found)

  def _build(self, _: None) -> None:
    state = self.stack.pop()
    target = self.stack[-1]
    if isinstance(target, Object):
      target.states.append(state)
    elif isinstance(target, Dtype):
      check(isinstance(state, tuple) and len(state) >= 2, "a dtype without a state")
      target.order = state[1]
    elif isinstance(target, Array):
      version, shape, dtype, fortran, data = state
      target.value = self._calls.array(
        shape, dtype, "F" if fortran is True else "C", data
      )
    elif not isinstance(target, Tensor):
      raise ValueError("a state without an object")


def _storage(identity: Any) -> Storage | Named:
  """What a PyTorch file keeps beside its pickle: numbers, or the source of a class."""
  check(isinstance(identity, tuple) and len(identity) > 1, "an odd reference")
  if identity[0] == "module" and isinstance(identity[1], Named):
    return identity[1]
  word, named, key, _, count, *view = identity
  check(word == "storage" and isinstance(named, Named), "an odd reference")
  check(isinstance(key, str) and type(count) is int, "an odd reference")
  start, length = 0, count
  if view and view[0] is not None:
    _, start, length = view[0]
    check(type(start) is int and type(length) is int, "an odd view")
  check(0 <= start <= start + length <= count, "a view beyond its end")
  return Storage(named.name.rpartition(".")[2], key, count, start, length)


_VALUES = {
  *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
  *("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING"),
  *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
  *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
  "NONE": lambda: None,
  "NEWTRUE": lambda: True,
  "NEWFALSE": lambda: False,
  "EMPTY_LIST": list,
  "EMPTY_TUPLE": tuple,
  "EMPTY_SET": list,
  "EMPTY_DICT": lambda: Object("dict"),
}
# The other opcodes, EXT1, NEXT_BUFFER and PERSID among them, are of no such file.
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
  "PROTO": _Machine._nothing,
  "FRAME": _Machine._nothing,
  "STOP": _Machine._nothing,
  "PUT": _Machine._put,
  "BINPUT": _Machine._put,
  "LONG_BINPUT": _Machine._put,
  "MEMOIZE": _Machine._put,
  "GET": _Machine._get,
  "BINGET": _Machine._get,
  "LONG_BINGET": _Machine._get,
  "MARK": _Machine._mark,
  "POP": _Machine._pop,
  "POP_MARK": _Machine._pop_mark,
  "DUP": _Machine._dup,
  "LIST": _Machine._list,
  "TUPLE": _Machine._tuple,
  "FROZENSET": _Machine._tuple,
  "TUPLE1": lambda machine, _: machine._take(1),
  "TUPLE2": lambda machine, _: machine._take(2),
  "TUPLE3": lambda machine, _: machine._take(3),
  "DICT": _Machine._dict,
  "APPEND": _Machine._append,
  "APPENDS": _Machine._appends,
  "ADDITEMS": _Machine._appends,
  "SETITEM": _Machine._setitem,
  "SETITEMS": _Machine._setitems,
  "GLOBAL": _Machine._global,
  "STACK_GLOBAL": _Machine._stack_global,
  "INST": _Machine._inst,
  "OBJ": _Machine._obj,
  "REDUCE": _Machine._reduce,
  "NEWOBJ": _Machine._reduce,
  "NEWOBJ_EX": _Machine._newobj_ex,
  "BUILD": _Machine._build,
  "BINPERSID": _Machine._binpersid,
}
