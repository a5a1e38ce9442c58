"""The text that XLA prints of a program, parsed into computations of instructions."""

import dataclasses
import math
import re
from collections.abc import Mapping

_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_ARRAY = re.compile(
  r"\b(?P<kind>[a-z]\w*)\[(?P<sides>[\d,]*)\](?:\{(?P<layout>[^}]*)\})?"
)
# Through these a constant is followed to where it is used.
_SAME = {"copy", "bitcast", "convert", "copy-start", "copy-done", "reshape"}


@dataclasses.dataclass(frozen=True)
class Instruction:
  """A line of a computation.

  Attributes:
    name: that others call its result by.
    shape: of the result, such as "f32[3,5]{1,0}"; a tuple's in parentheses.
    opcode: such as "convolution".
    operands: names of the instructions whose results it takes.
    inside: the text between the parentheses, such as a constant's value.
    attributes: the text behind them.
  """

  name: str
  shape: str
  opcode: str
  operands: tuple[str, ...]
  inside: str
  attributes: str

  def attribute(self, pattern: str) -> str | None:
    """What the first group of a pattern finds among the attributes."""
    found = re.search(pattern, self.attributes)
    return found[1] if found else None

  def calls(self, attribute: str) -> str | None:
    """The computation that an attribute names, such as a loop's "body"."""
    return self.attribute(rf"\b{attribute}=%?([\w.\-]+)")


@dataclasses.dataclass(frozen=True)
class Computation:
  """Instructions by name, and the name of the one that gives the result."""

  instructions: Mapping[str, Instruction]
  root: str

  def shape(self, operand: str) -> str:
    """The shape of an operand."""
    return self.instructions[operand].shape

  def element(self, name: str, index: int) -> str:
    """The operand behind an element of a tuple; "" if there is no such tuple."""
    found = self.instructions.get(name)
    if found is None or found.opcode != "tuple" or index >= len(found.operands):
      return ""
    return found.operands[index]

  def constant(self, name: str) -> int | None:
    """The whole number that an instruction gives, if it is one in the text."""
    found = self.instructions.get(name)
    while found is not None and found.opcode in _SAME and found.operands:
      found = self.instructions.get(found.operands[0])
    if found is None or found.opcode != "constant":
      return None
    return int(found.inside) if re.fullmatch(r"-?\d+", found.inside) else None


def parse(text: str) -> tuple[dict[str, Computation], str]:
  """The computations of a module by name, and the name of its entry.

  Args:
    text: `compiled.as_text()`.

  Raises:
    ValueError: it is no module.
  """
  computations: dict[str, Computation] = {}
  entry = name = root = ""
  body: dict[str, Instruction] = {}
  for line in text.splitlines():
    if head := _HEAD.match(line):
      name, body, root = head[2], {}, ""
      entry = name if head[1] else entry
    elif line.startswith("}") and name:
      computations[name] = Computation(body, root)
      name = ""
    elif name and (found := _LINE.match(line)):
      body[found[2]] = _instruction(found[2], found[3])
      root = found[2] if found[1] else root
  if not entry:
    raise ValueError("this text has no ENTRY computation: it is not an HLO module")
  return computations, entry


def dims(shape: str) -> list[int]:
  """The sides of an array; those of the first one in a tuple."""
  found = re.search(r"\[([\d,]*)\]", shape)
  return numbers(found[1]) if found else []


def numbers(text: str) -> list[int]:
  """Such as [3, 5] from "3,5"."""
  return [int(word) for word in text.split(",") if word]


def arrays(shape: str) -> list[str]:
  """Each array of a shape with its layout; those of tuples within it too."""
  return [found[0] for found in _ARRAY.finditer(shape)]


def size(shape: str) -> int:
  """Bytes of all arrays in a shape; an element of fewer than 8 bits takes a byte."""
  return sum(
    math.prod(numbers(one["sides"])) * _element(one["kind"])
    for one in _ARRAY.finditer(shape)
  )


def padded(shape: str) -> int:
  """The same with the padding of their layouts, such as {1,0:T(8,128)}."""
  total = 0
  for one in _ARRAY.finditer(shape):
    sides = numbers(one["sides"])
    order, _, tiling = (one["layout"] or "").partition(":")
    found = re.search(r"T\(([\d,]+)\)", tiling)
    tile = numbers(found[1]) if found else []
    inner = [1] * len(tile) + [sides[axis] for axis in reversed(numbers(order))]
    for place, side in enumerate(reversed(tile), 1):
      inner[-place] = -(-inner[-place] // side) * side
    total += math.prod(inner or sides) * _element(one["kind"])
  return total


def is_near(shape: str) -> bool:
  """Whether an array is in another memory than a device's main one."""
  return re.search(r"S\([1-9]", shape) is not None


def _element(kind: str) -> int:
  bits = re.search(r"\d+", kind)
  return max(1, int(bits[0]) // 8 if bits else 1)


def _instruction(name: str, text: str) -> Instruction:
  """Splits "SHAPE opcode(operands), attributes", where a shape may be a tuple."""
  shape = _balanced(text) if text.startswith("(") else text.split(" ", 1)[0]
  opcode, _, rest = text[len(shape) :].strip().partition("(")
  inside = _balanced("(" + rest)[1:-1]
  operands = tuple(re.findall(r"%([\w.\-]+)", inside))
  return Instruction(name, shape, opcode, operands, inside, rest[len(inside) + 1 :])


def _balanced(text: str) -> str:
  """The text up to the parenthesis that closes its first one."""
  depth = 0
  for end, letter in enumerate(text, 1):
    depth += (letter == "(") - (letter == ")")
    if not depth:
      return text[:end]
  return text
