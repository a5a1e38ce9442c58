"""Bytes that a program moves between a device's main memory and the rest of it.

What runs reads its operands from main memory and writes its result there, at the size
that their layout pads them to. Inside a fusion nothing moves; what the compiler keeps
in a memory nearer by is free; and where an array is only sliced, or written in one
place, that part counts.
"""

import functools
from collections.abc import Mapping

from robustjax.preflight import hlo
from robustjax.preflight.hlo import Computation, Instruction

# They name what others have made, or run what is counted by itself.
_FREE = {
  "parameter", "constant", "iota", "tuple", "get-tuple-element", "bitcast", "after-all",
  "opt-barrier", "partition-id", "replica-id", "while", "conditional", "call",
}  # fmt: skip
_SLICES = {"slice", "slice-start", "dynamic-slice", "dynamic-slice-start", "gather"}
_SAME = {"bitcast", "copy", "convert", "reshape"}
_UPDATE = "dynamic-update-slice"
# TPUs' calls that give memory, or parts that lie in a row, a name.
_NAMING = {"AllocateBuffer", "ConcatBitcast"}


class Moved:
  """Counts for the instructions of a module.

  Args:
    computations: from `hlo.parse`.
  """

  def __init__(self, computations: Mapping[str, Computation]):
    self._computations = computations
    self._of_parameter = functools.cache(self._read_of_parameter)

  def bytes(self, one: Instruction, inside: Computation) -> int:
    """What an instruction moves when it runs once; 0 for loops, calls and branches.

    Args:
      one: outside all fusions.
      inside: the computation that it stands in.
    """
    target = one.attribute(r'custom_call_target="([^"]*)"')
    if one.opcode in _FREE or one.opcode.endswith("-done") or target in _NAMING:
      return 0
    total = 0
    for result, written in zip(_results(one), self._writes(one, inside), strict=False):
      total += 0 if hlo.is_near(result) else written
    for at, name in enumerate(one.operands):
      if not hlo.is_near(shape := inside.shape(name)):
        total += min(hlo.padded(shape), self._read(one, at, inside))
    return total

  def _read(self, one: Instruction, at: int, inside: Computation) -> int:
    """Bytes of an operand that an instruction looks at."""
    if called := _called(one):
      return self._of_parameter(called, at)
    if at == 0 and one.opcode in _SLICES:
      return hlo.padded(_results(one)[0])
    if at == 0 and one.opcode == _UPDATE:
      return 0
    return hlo.padded(inside.shape(one.operands[at]))

  def _read_of_parameter(self, name: str, at: int) -> int:
    inside = self._computations[name]
    every = inside.instructions.values()
    (found,) = [x for x in every if x.opcode == "parameter" and x.inside == str(at)]
    return self._uses(found, inside)

  def _uses(self, one: Instruction, inside: Computation) -> int:
    """Bytes of a value that the others in a fusion look at."""
    whole = hlo.padded(one.shape)
    total = whole if one.name == inside.root else 0
    for user in inside.instructions.values():
      for at in (n for n, name in enumerate(user.operands) if name == one.name):
        if self._is_same(user):  # in another layout, or with other elements
          part = self._uses(user, inside) / hlo.padded(user.shape)
          total += round(part * whole)
        else:
          total += self._read(user, at, inside)
    return min(total, whole)

  def _is_same(self, one: Instruction) -> bool:
    """Whether it is its operand in another form, made as far as it is looked at."""
    called = _called(one)
    if called is None:
      return one.opcode in _SAME
    inner = self._computations[called].instructions.values()
    return all(x.opcode == "parameter" or self._is_same(x) for x in inner)

  def _writes(self, one: Instruction, inside: Computation) -> list[int]:
    """Bytes of each of its results that an instruction writes."""
    if called := _called(one):
      body = self._computations[called]
      root = body.instructions[body.root]
      if root.opcode == "tuple":
        return [sum(self._writes(body.instructions[x], body)) for x in root.operands]
      return self._writes(root, body)
    if one.opcode == "bitcast" and one.operands[0] in inside.instructions:
      return self._writes(inside.instructions[one.operands[0]], inside)
    if one.opcode == _UPDATE:
      return [hlo.padded(inside.shape(one.operands[1]))]
    return [hlo.padded(shape) for shape in _results(one)]


def _results(one: Instruction) -> list[str]:
  """What it makes, without what one that is only begun says beside it."""
  shapes = hlo.arrays(one.shape)
  if one.opcode == "copy-start":  # (result, operand, context)
    return shapes[:1]
  begins = one.opcode.endswith("-start") and one.shape.startswith("((")
  return shapes[len(one.operands) :] if begins else shapes  # ((operands), result, ...)


def _called(one: Instruction) -> str | None:
  return one.calls("calls") if one.opcode in ("fusion", "async-start") else None
