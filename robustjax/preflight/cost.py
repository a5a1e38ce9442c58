"""The work of a compiled program, counted in the text that XLA prints of it.

XLA's own cost analysis counts the body of a loop once, whatever its trips, knows no
collectives, and takes bytes in a TPU's vector memory for bytes in its main memory.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from robustjax.preflight import hlo
from robustjax.preflight.hlo import Computation, Instruction
from robustjax.preflight.moved import Moved
from robustjax.preflight.work import Loop, Traffic, Work

_COLLECTIVES = (
  "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all",
  "collective-permute", "collective-broadcast",
)  # fmt: skip
# Library calls that may stand for a convolution or a matrix product.
_PRODUCTS = re.compile(r"conv|gemm|matmul|dot", re.IGNORECASE)


def analysis(text: str) -> Work:
  """Counts operations, bytes and collectives, of each loop and outside loops.

  Args:
    text: `compiled.as_text()`.

  Returns:
    The work of one device.
  """
  computations, entry = hlo.parse(text)
  return _Analysis(computations).work(entry)


class _Analysis:
  """Adds up computations, each of which is read once."""

  def __init__(self, computations: Mapping[str, Computation]):
    self._computations = computations
    self._moved = Moved(computations)
    self.work = functools.cache(self._work)

  def _work(self, name: str, fused: bool = False) -> Work:
    inside = self._computations[name]
    every = inside.instructions.values()
    work = _sum([self._of(one, inside) for one in every])
    if fused:
      return work
    moved = sum(self._moved.bytes(one, inside) for one in every)
    return dataclasses.replace(work, bytes=work.bytes + moved)

  def _of(self, one: Instruction, inside: Computation) -> Work:
    kind = one.opcode.removesuffix("-start")
    if kind in _COLLECTIVES:
      size = sum(hlo.size(inside.shape(name)) for name in one.operands)
      return Work(collectives={kind: Traffic(1, size)})
    if one.opcode == "convolution":
      return Work(flops=_convolution(one, inside))
    if one.opcode == "dot":
      return Work(flops=_dot(one, inside))
    if one.opcode == "while":
      return self._loop(one, inside)
    if one.opcode == "conditional":  # the branch that has most to do
      names = re.findall(
        r"[\w.\-]+", one.attribute(r"branch_computations=\{([^}]*)\}") or ""
      )
      names += filter(None, map(one.calls, ("true_computation", "false_computation")))
      return max(map(self.work, names), key=lambda w: w.total_flops, default=Work())
    if one.opcode in ("fusion", "call", "async-start"):
      called = one.calls("calls") or one.calls("to_apply")
      work = self.work(called, one.opcode != "call") if called else Work()
      if called and one.opcode == "fusion" and self._goes_on(called):
        return dataclasses.replace(work, collectives={})
      return work
    target = one.attribute(r'custom_call_target="([^"]*)"') or ""
    if one.opcode == "custom-call" and _PRODUCTS.search(target):
      return Work(uncounted=(target,))
    return Work()

  def _goes_on(self, name: str) -> bool:
    """Whether a TPU's fusion repeats a collective that another one has begun.

    The beginning, what is computed meanwhile and the end each hold the collective.
    """
    if name.startswith("async_collective_fusion"):
      return True
    inside = self._computations[name].instructions.values()
    return any('"AsyncCollectiveDone"' in one.attributes for one in inside)

  def _loop(self, one: Instruction, inside: Computation) -> Work:
    body = one.calls("body")
    if body is None:
      raise ValueError(f"the loop {one.name} has no body")
    known = one.attribute(r'"known_trip_count":\{"n":"(\d+)"\}')
    trips = int(known) if known else self._trips(one, inside)
    return Work(loops=(Loop(trips, self.work(body)),))

  def _trips(self, one: Instruction, inside: Computation) -> int | None:
    """Trips of a loop that counts from one constant to another by a third."""
    condition = self._computations[one.calls("condition") or ""]
    body = self._computations[one.calls("body") or ""]
    until = condition.instructions[condition.root]
    if "direction=LT" not in self._result(until).attributes or len(until.operands) != 2:
      return None
    counter = condition.instructions[until.operands[0]]
    index = counter.attribute(r"\bindex=(\d+)")
    if counter.opcode != "get-tuple-element" or index is None:
      return None
    limit = condition.constant(until.operands[1])
    first = inside.constant(inside.element(one.operands[0], int(index)))
    step = self._step(body.element(body.root, int(index)), body)
    if limit is None or first is None or not step:
      return None
    return max(0, math.ceil((limit - first) / step))

  def _step(self, name: str, body: Computation) -> int | None:
    """What the body adds to the loop's counter."""
    added = body.instructions.get(name)
    if added is None or self._result(added).opcode != "add":
      return None
    values = [body.constant(operand) for operand in added.operands]
    known = [value for value in values if value is not None]
    return known[0] if len(known) == 1 else None

  def _result(self, one: Instruction) -> Instruction:
    """What an instruction comes to: itself, or what a fusion ends with."""
    if one.opcode != "fusion":
      return one
    inner = self._computations[one.calls("calls") or ""]
    return inner.instructions[inner.root]


def _sum(parts: Sequence[Work]) -> Work:
  total: dict[str, Traffic] = {}
  for part in parts:
    for kind, traffic in part.collectives.items():
      total[kind] = total.get(kind, Traffic()).plus(traffic)
  return Work(
    flops=sum(part.flops for part in parts),
    bytes=sum(part.bytes for part in parts),
    collectives=total,
    loops=tuple(loop for part in parts for loop in part.loops),
    uncounted=tuple(sorted({name for part in parts for name in part.uncounted})),
  )


def _dot(one: Instruction, inside: Computation) -> float:
  left = hlo.dims(inside.shape(one.operands[0]))
  over = hlo.numbers(one.attribute(r"lhs_contracting_dims=\{([\d,]*)\}") or "")
  return 2.0 * math.prod(hlo.dims(one.shape)) * math.prod(left[d] for d in over)


def _convolution(one: Instruction, inside: Computation) -> float:
  """As XLA counts: no taps on padding, or between the rows of a dilated input."""
  labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", one.attributes)
  if labels is None:
    raise ValueError(f"the convolution {one.name} says no dim_labels")
  images, kernel, result = (
    dict(zip(names, hlo.dims(shape), strict=True))
    for names, shape in zip(
      labels.groups(), (*map(inside.shape, one.operands[:2]), one.shape), strict=True
    )
  )
  window = dict(re.findall(r"(\w+)=(\S+)", one.attribute(r"window=\{([^}]*)\}") or ""))

  def along(name: str, axis: int, default: int) -> int:
    if name not in window:
      return default
    return int(window[name].split("x")[axis].split("_")[0])  # of padding, that before

  count = 2.0 * result["b"] * result["f"] * kernel["i"]
  for axis in range(len(labels[1]) - 2):
    length, taps, outputs = (shape[str(axis)] for shape in (images, kernel, result))
    stride, dilation = along("stride", axis, 1), along("lhs_dilate", axis, 1)
    starts = stride * np.arange(outputs) - along("pad", axis, 0)
    offsets = along("rhs_dilate", axis, 1) * np.arange(taps)
    inputs = starts[:, None] + offsets
    inside_image = (inputs >= 0) & (inputs <= (length - 1) * dilation)
    count *= int(np.sum(inside_image & (inputs % dilation == 0)))
  return count
