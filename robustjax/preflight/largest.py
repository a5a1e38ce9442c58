"""The largest batch a device that fits, found by compiling at few sizes.

Memory grows with the images that a device holds, almost in a line: two sizes give the
line, it gives an answer, and a compile at the answer, at least until memory is
assigned, says whether it fits.
"""

import dataclasses
from collections.abc import Callable

_COMPILES = 5  # at most, the size that is known among them


@dataclasses.dataclass(frozen=True)
class Largest:
  """The answer.

  Attributes:
    images: a device; 0 if not even one group fits.
    needed: bytes a device that it needs; 0 if there is no such size.
    tried: images a device -> bytes, None where the compiler refused and did not say.
    next_refused: whether one group more was compiled and did not fit. If not, that it
      does not is the line's word.
  """

  images: int
  needed: int
  tried: dict[int, int | None]
  next_refused: bool


def largest(
  needed: Callable[[int], int | None],
  *,
  group: int,
  hbm: int,
  known: tuple[int, int | None],
) -> Largest:
  """Looks for the largest number of images a device that fits.

  Args:
    needed: images a device -> bytes a device by the compiler, or None where it refuses
      and does not say how many. Takes a while.
    group: images that must stay on one device; the answer is a multiple of it.
    hbm: bytes of memory a device.
    known: a size that was compiled already, and its bytes.

  Returns:
    The answer, which was compiled unless it is 0.
  """
  tried = dict([known])

  def too_large(bytes_: int | None) -> bool:
    return bytes_ is None or bytes_ > hbm

  guess = group if too_large(known[1]) else 2 * known[0]
  while guess not in tried and len(tried) < _COMPILES:
    tried[guess] = needed(guess)
    best = max((n for n, b in tried.items() if not too_large(b)), default=0)
    worst = min((n for n, b in tried.items() if too_large(b)), default=None)
    guess = _on_line(tried, hbm) // group * group
    if worst is not None and tried[worst] is None:  # no line leads to it
      guess = min(guess, max(best + group, (best + worst) // 2 // group * group))
    if worst is not None:
      guess = min(guess, worst - group)
    guess = max(guess, best)
    if guess == 0:
      break
  best = max((n for n, b in tried.items() if not too_large(b)), default=0)
  after = best + group
  return Largest(
    images=best,
    needed=tried.get(best) or 0,
    tried=tried,
    next_refused=after in tried and too_large(tried[after]),
  )


def _on_line(tried: dict[int, int | None], hbm: int) -> int:
  """Where the line through the two sizes that are nearest to the memory meets it."""
  points = [(n, b) for n, b in tried.items() if b is not None]
  if len(points) < 2:  # refusals that say nothing: the least of them
    return min(n for n, b in tried.items() if b is None)
  points = sorted(points, key=lambda point: abs(point[1] - hbm))[:2]
  (n0, b0), (n1, b1) = sorted(points)
  return int(n0 + (hbm - b0) * (n1 - n0) / (b1 - b0)) if b1 > b0 else n1
