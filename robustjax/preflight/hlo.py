"""What a compiled program does, read from the text that the compiler prints of it.

`read` counts the floating point operations of convolutions and matrix products, and the
collectives, of each loop and outside loops. XLA's own cost analysis counts the body of
a loop once, whatever its trips, and knows no collectives.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_COLLECTIVES = (
  "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all",
  "collective-permute", "collective-broadcast",
)  # fmt: skip
# Library calls that may stand for a convolution or a matrix product.
_PRODUCTS = re.compile(r"conv|gemm|matmul|dot", re.IGNORECASE)
# Through these a constant is followed to where it is used.
_SAME = {"copy", "bitcast", "convert", "copy-start", "copy-done", "reshape"}


@dataclasses.dataclass(frozen=True)
class Traffic:
  """Collectives of one kind.

  Attributes:
    count: how many.
    bytes: that one device puts into them.
  """

  count: int = 0
  bytes: int = 0


@dataclasses.dataclass(frozen=True)
class Work:
  """What one device does in a program, or in one trip of a loop.

  Attributes:
    flops: floating point operations of convolutions and matrix products outside the
      loops, a multiply-add being two.
    collectives: kind -> traffic outside the loops.
    loops: those that it runs through.
    uncounted: library calls that may be products, whose operations are not known.
  """

  flops: float = 0.0
  collectives: Mapping[str, Traffic] = dataclasses.field(default_factory=dict)
  loops: tuple["Loop", ...] = ()
  uncounted: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Loop:
  """One loop.

  Attributes:
    trips: how many; None if the program is told only when it runs.
    body: the work of one trip.
  """

  trips: int | None
  body: Work


def flops(work: Work) -> float:
  """Floating point operations with every loop's trips; 1 for unknown trips."""
  return work.flops + sum((loop.trips or 1) * flops(loop.body) for loop in work.loops)


def collectives(work: Work) -> dict[str, Traffic]:
  """Kind -> traffic with every loop's trips; 1 for unknown trips."""
  found = dict(work.collectives)
  for loop in work.loops:
    for kind, traffic in collectives(loop.body).items():
      found[kind] = _plus(found.get(kind), traffic, loop.trips or 1)
  return found


def unknown_loops(work: Work) -> int:
  """How many loops there are, in loops too, whose trips are not known."""
  return sum((loop.trips is None) + unknown_loops(loop.body) for loop in work.loops)


def uncounted(work: Work) -> set[str]:
  """The library calls, in loops too, whose operations are not known."""
  return set(work.uncounted).union(*(uncounted(loop.body) for loop in work.loops))


def longest(work: Work) -> Loop | None:
  """The loop that most operations are in: an attack's, where a program has one."""
  return max(
    work.loops, key=lambda loop: (loop.trips or 1) * flops(loop.body), default=None
  )


def with_trips(work: Work, trips: int) -> Work:
  """The same work with other trips of its longest loop."""
  old = longest(work)
  loops = (Loop(trips, one.body) if one is old else one for one in work.loops)
  return dataclasses.replace(work, loops=tuple(loops))


def from_dict(saved: Mapping[str, Any]) -> Work:
  """The work of which `saved` is `dataclasses.asdict`, through JSON perhaps."""
  return Work(
    flops=saved["flops"],
    collectives={k: Traffic(**t) for k, t in saved["collectives"].items()},
    loops=tuple(Loop(one["trips"], from_dict(one["body"])) for one in saved["loops"]),
    uncounted=tuple(saved["uncounted"]),
  )


def read(text: str) -> Work:
  """Reads an optimised module.

  Args:
    text: `compiled.as_text()`.

  Returns:
    The work of one device.
  """
  computations, entry = _computations(text)
  return _Walk(computations).work(entry)


@dataclasses.dataclass(frozen=True)
class _Instruction:
  name: str
  shape: str
  opcode: str
  operands: tuple[str, ...]
  inside: str  # the text between the parentheses, such as a constant's value
  attributes: str

  def calls(self, attribute: str) -> str | None:
    found = re.search(rf"\b{attribute}=%?([\w.\-]+)", self.attributes)
    return found.group(1) if found else None


@dataclasses.dataclass(frozen=True)
class _Computation:
  instructions: Mapping[str, _Instruction]
  root: str


class _Walk:
  """Adds up computations, each of which is read once."""

  def __init__(self, computations: Mapping[str, _Computation]):
    self._computations = computations
    self._known: dict[str, Work] = {}

  def work(self, name: str) -> Work:
    if name not in self._known:
      here = self._computations[name]
      parts = [self._of(one, here) for one in here.instructions.values()]
      self._known[name] = _sum(parts)
    return self._known[name]

  def _of(self, one: _Instruction, here: _Computation) -> Work:
    kind = one.opcode.removesuffix("-start")
    if kind in _COLLECTIVES:
      size = sum(_bytes(here.instructions[name].shape) for name in one.operands)
      return Work(collectives={kind: Traffic(1, size)})
    if one.opcode == "convolution":
      return Work(flops=_convolution(one, here))
    if one.opcode == "dot":
      return Work(flops=_dot(one, here))
    if one.opcode == "while":
      return self._loop(one, here)
    if one.opcode == "conditional":  # the branch that has most to do
      branches = re.search(r"branch_computations=\{([^}]*)\}", one.attributes)
      names = re.findall(r"[\w.\-]+", branches.group(1)) if branches else []
      names += filter(None, map(one.calls, ("true_computation", "false_computation")))
      return max(map(self.work, names), key=flops, default=Work())
    if one.opcode in ("fusion", "call", "async-start"):
      called = one.calls("calls") or one.calls("to_apply")
      work = self.work(called) if called else Work()
      if called and one.opcode == "fusion" and self._goes_on(called):
        return dataclasses.replace(work, collectives={})
      return work
    target = re.search(r'custom_call_target="([^"]*)"', one.attributes)
    if one.opcode == "custom-call" and target and _PRODUCTS.search(target.group(1)):
      return Work(uncounted=(target.group(1),))
    return Work()

  def _goes_on(self, name: str) -> bool:
    """Whether a TPU's fusion repeats a collective that another one has begun.

    The beginning, what is computed meanwhile and the end each hold the collective.
    """
    if name.startswith("async_collective_fusion"):
      return True
    inside = self._computations[name].instructions.values()
    return any('"AsyncCollectiveDone"' in one.attributes for one in inside)

  def _loop(self, one: _Instruction, here: _Computation) -> Work:
    body = one.calls("body")
    if body is None:
      raise ValueError(f"the loop {one.name} has no body")
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', one.attributes)
    trips = int(known.group(1)) if known else self._trips(one, here)
    return Work(loops=(Loop(trips, self.work(body)),))

  def _trips(self, one: _Instruction, here: _Computation) -> int | None:
    """Trips of a loop that counts from one constant to another by a third."""
    condition = self._computations[one.calls("condition") or ""]
    body = self._computations[one.calls("body") or ""]
    until = condition.instructions[condition.root]
    if "direction=LT" not in self._does(until).attributes or len(until.operands) != 2:
      return None
    counter = condition.instructions[until.operands[0]]
    place = re.search(r"\bindex=(\d+)", counter.attributes)
    if counter.opcode != "get-tuple-element" or place is None:
      return None
    index = int(place.group(1))
    limit = _constant(until.operands[1], condition)
    first = _constant(_element(one.operands[0], index, here), here)
    step = self._step(_element(body.root, index, body), body)
    if limit is None or first is None or not step:
      return None
    return max(0, math.ceil((limit - first) / step))

  def _step(self, name: str, body: _Computation) -> int | None:
    """What the body adds to the loop's counter."""
    added = body.instructions.get(name)
    if added is None or self._does(added).opcode != "add":
      return None
    values = [_constant(operand, body) for operand in added.operands]
    known = [value for value in values if value is not None]
    return known[0] if len(known) == 1 else None

  def _does(self, one: _Instruction) -> _Instruction:
    """What an instruction comes to: itself, or what a fusion ends with."""
    if one.opcode != "fusion":
      return one
    inner = self._computations[one.calls("calls") or ""]
    return inner.instructions[inner.root]


def _element(name: str, index: int, here: _Computation) -> str:
  made = here.instructions.get(name)
  if made is None or made.opcode != "tuple" or index >= len(made.operands):
    return ""
  return made.operands[index]


def _constant(name: str, here: _Computation) -> int | None:
  one = here.instructions.get(name)
  while one is not None and one.opcode in _SAME and one.operands:
    one = here.instructions.get(one.operands[0])
  if one is None or one.opcode != "constant":
    return None
  return int(one.inside) if re.fullmatch(r"-?\d+", one.inside) else None


def _plus(a: Traffic | None, b: Traffic, times: int = 1) -> Traffic:
  a = a or Traffic()
  return Traffic(a.count + times * b.count, a.bytes + times * b.bytes)


def _sum(parts: Sequence[Work]) -> Work:
  found: dict[str, Traffic] = {}
  for part in parts:
    for kind, traffic in part.collectives.items():
      found[kind] = _plus(found.get(kind), traffic)
  return Work(
    flops=sum(part.flops for part in parts),
    collectives=found,
    loops=tuple(loop for part in parts for loop in part.loops),
    uncounted=tuple(sorted({name for part in parts for name in part.uncounted})),
  )


def _dot(one: _Instruction, here: _Computation) -> float:
  left = _dims(here.instructions[one.operands[0]].shape)
  found = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", one.attributes)
  over = [int(d) for d in found.group(1).split(",") if d] if found else []
  return 2.0 * math.prod(_dims(one.shape)) * math.prod(left[d] for d in over)


def _convolution(one: _Instruction, here: _Computation) -> float:
  """As XLA counts: no taps on padding, or between the rows of a dilated input."""
  labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", one.attributes)
  if labels is None:
    raise ValueError(f"the convolution {one.name} says no dim_labels")
  left, kernel, result = labels.groups()
  image = _dims(here.instructions[one.operands[0]].shape)
  taps = _dims(here.instructions[one.operands[1]].shape)
  made = _dims(one.shape)
  window = _window(one.attributes, len(left) - 2)
  count = 2.0 * made[result.index("b")] * made[result.index("f")]
  count *= taps[kernel.index("i")]
  for d, along in enumerate(window):
    size = image[left.index(str(d))]
    count *= _valid(size, taps[kernel.index(str(d))], made[result.index(str(d))], along)
  return count


@dataclasses.dataclass(frozen=True)
class _Window:
  stride: int
  pad: int
  lhs_dilate: int
  rhs_dilate: int


def _window(attributes: str, rank: int) -> list[_Window]:
  found = re.search(r"window=\{([^}]*)\}", attributes)
  fields = dict(re.findall(r"(\w+)=(\S+)", found.group(1))) if found else {}

  def along(name: str, default: str) -> list[str]:
    return fields.get(name, "x".join([default] * rank)).split("x") if rank else []

  return [
    _Window(int(stride), int(pad.split("_")[0]), int(lhs), int(rhs))
    for stride, pad, lhs, rhs in zip(
      along("stride", "1"),
      along("pad", "0_0"),
      along("lhs_dilate", "1"),
      along("rhs_dilate", "1"),
      strict=True,
    )
  ]


def _valid(size: int, taps: int, made: int, window: _Window) -> int:
  """Pairs of an output place and a kernel tap that meet on an element of the input."""
  last = (size - 1) * window.lhs_dilate
  count = 0
  for place in range(made):
    start = place * window.stride - window.pad
    for tap in range(taps):
      at = start + tap * window.rhs_dilate
      count += 0 <= at <= last and at % window.lhs_dilate == 0
  return count


def _bytes(shape: str) -> int:
  """Bytes of all arrays in a shape; an element of fewer than 8 bits takes a byte."""
  total = 0
  for kind, dims in re.findall(r"\b([a-z]\w*)\[([\d,]*)\]", shape):
    digits = re.search(r"\d+", kind)
    bits = int(digits.group()) if digits else 8
    elements = math.prod(int(d) for d in dims.split(",") if d)
    total += elements * max(1, bits // 8)
  return total


def _dims(shape: str) -> list[int]:
  found = re.search(r"\[([\d,]*)\]", shape)
  return [int(d) for d in found.group(1).split(",") if d] if found else []


_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")


def _computations(text: str) -> tuple[dict[str, _Computation], str]:
  found: dict[str, _Computation] = {}
  entry = name = root = ""
  body: dict[str, _Instruction] = {}
  for line in text.splitlines():
    if head := _HEAD.match(line):
      name, body, root = head.group(2), {}, ""
      entry = name if head.group(1) else entry
    elif line.startswith("}") and name:
      found[name] = _Computation(body, root)
      name = ""
    elif name and (made := _LINE.match(line)):
      one = _instruction(made.group(2), made.group(3))
      body[one.name] = one
      root = one.name if made.group(1) else root
  if not entry:
    raise ValueError("this text has no ENTRY computation: it is not an HLO module")
  return found, entry


def _instruction(name: str, rest: str) -> _Instruction:
  """Splits "SHAPE opcode(operands), attributes", where a shape may be a tuple."""
  shape = _balanced(rest) if rest.startswith("(") else rest.split(" ", 1)[0]
  opcode, _, after = rest[len(shape) :].strip().partition("(")
  inside = _balanced("(" + after)[1:-1]
  operands = tuple(_operands(inside))
  return _Instruction(name, shape, opcode, operands, inside, after[len(inside) + 1 :])


def _operands(inside: str) -> Iterator[str]:
  yield from re.findall(r"%([\w.\-]+)", inside)


def _balanced(text: str) -> str:
  """The text up to the parenthesis that closes its first one."""
  depth = 0
  for place, letter in enumerate(text):
    depth += (letter == "(") - (letter == ")")
    if not depth:
      return text[: place + 1]
  return text
