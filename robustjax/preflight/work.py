"""What one device does in a program: operations, collectives, and the loops of both."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Self


@dataclasses.dataclass(frozen=True)
class Traffic:
  """Collectives of one kind.

  Attributes:
    count: how many.
    bytes: that one device puts into them.
  """

  count: int = 0
  bytes: int = 0

  def plus(self, other: "Traffic", times: int = 1) -> "Traffic":
    """These and the others so many times."""
    return Traffic(self.count + times * other.count, self.bytes + times * other.bytes)


@dataclasses.dataclass(frozen=True)
class Loop:
  """One loop.

  Attributes:
    trips: how many; None if the program is told only when it runs.
    body: the work of one trip.
  """

  trips: int | None
  body: "Work"

  @property
  def total_flops(self) -> float:
    """Operations of all trips; of one if their number is not known."""
    return (self.trips or 1) * self.body.total_flops


@dataclasses.dataclass(frozen=True)
class Work:
  """What one device does in a program, or in one trip of a loop.

  Attributes:
    flops: floating point operations of convolutions and matrix products outside the
      loops, a multiply-add being two.
    bytes: that pass its main memory outside the loops.
    collectives: kind -> traffic outside the loops.
    loops: those that it runs through.
    uncounted: library calls that may be products, whose operations are not known.
  """

  flops: float = 0.0
  bytes: int = 0
  collectives: Mapping[str, Traffic] = dataclasses.field(default_factory=dict)
  loops: tuple[Loop, ...] = ()
  uncounted: tuple[str, ...] = ()

  @property
  def total_flops(self) -> float:
    """Floating point operations with every loop's trips; 1 for unknown trips."""
    return self.flops + sum(loop.total_flops for loop in self.loops)

  @property
  def total_bytes(self) -> int:
    """Bytes that pass the main memory, with every loop's trips as above."""
    inside = sum((loop.trips or 1) * loop.body.total_bytes for loop in self.loops)
    return self.bytes + inside

  @property
  def total_collectives(self) -> dict[str, Traffic]:
    """Kind -> traffic with every loop's trips; 1 for unknown trips."""
    total = dict(self.collectives)
    for loop in self.loops:
      for kind, traffic in loop.body.total_collectives.items():
        total[kind] = total.get(kind, Traffic()).plus(traffic, loop.trips or 1)
    return total

  @property
  def unknown_loops(self) -> int:
    """How many loops there are, in loops too, whose trips are not known."""
    return sum(loop.trips is None for loop in self._all_loops())

  @property
  def all_uncounted(self) -> set[str]:
    """The library calls, in loops too, whose operations are not known."""
    bodies = [loop.body.uncounted for loop in self._all_loops()]
    return set(self.uncounted).union(*bodies)

  @property
  def longest_loop(self) -> Loop | None:
    """The one that most operations are in: an attack's, where a program has one."""
    return max(self.loops, key=lambda loop: loop.total_flops, default=None)

  def with_trips(self, trips: int) -> Self:
    """The same work with other trips of its longest loop."""
    longest = self.longest_loop
    loops = (
      dataclasses.replace(loop, trips=trips) if loop is longest else loop
      for loop in self.loops
    )
    return dataclasses.replace(self, loops=tuple(loops))

  def _all_loops(self) -> Iterator[Loop]:
    for loop in self.loops:
      yield loop
      yield from loop.body._all_loops()


def from_dict(saved: Mapping[str, Any]) -> Work:
  """The work of which `saved` is `dataclasses.asdict`, through JSON perhaps."""
  return Work(
    flops=saved["flops"],
    bytes=saved["bytes"],
    collectives={k: Traffic(**t) for k, t in saved["collectives"].items()},
    loops=tuple(Loop(one["trips"], from_dict(one["body"])) for one in saved["loops"]),
    uncounted=tuple(saved["uncounted"]),
  )
