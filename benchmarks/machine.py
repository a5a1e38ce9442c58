"""The machine that a figure is of, and whether it was quiet."""

import os
import platform
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

SIDE = 2048  # of the square matrices whose product is the measure
PRODUCT = 2 * SIDE**3  # operations

_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "torch")
# From which load, and from which part of the cores, a machine counts as not quiet.
_LOAD, _TAKEN = 0.5, 0.05


def processor() -> str:
  """The name that the processor has, and how many cores there are to run on."""
  name = platform.machine()
  info = Path("/proc/cpuinfo")
  for line in info.read_text().splitlines() if info.exists() else ():
    if line.startswith("model name"):
      name = line.partition(":")[2].strip()
      break
  return f"{name}, {len(os.sched_getaffinity(0))} cores"


def versions() -> dict[str, str]:
  """Of what is measured."""

  def found() -> Iterator[tuple[str, str]]:
    yield "Python", platform.python_version()
    for name in _PACKAGES:
      try:
        yield name, metadata.version(name)
      except metadata.PackageNotFoundError:
        continue

  return dict(found())


def load() -> float:
  """Processes that wanted a core, on average over the last minute."""
  return os.getloadavg()[0]


class Others:
  """How much of the cores other processes take, from when it is made.

  The load average of a machine that measures is mostly the measurement's own.

  Args:
    clock: seconds that cores were busy, and those of this process and its children
      that have ended, so far.
  """

  def __init__(self, clock: Callable[[], tuple[float, float]] | None = None):
    self._clock = clock or _seconds
    self._began, self._start = time.monotonic(), self._clock()
    self.load = load()

  def taken(self) -> float:
    """The part of all cores that others had; 0 to 1."""
    busy, own = (
      now - then for now, then in zip(self._clock(), self._start, strict=True)
    )
    cores = len(os.sched_getaffinity(0)) * (time.monotonic() - self._began)
    return min(1.0, max(0.0, (busy - own) / max(cores, 1e-9)))

  def warning(self) -> str:
    """A line where the machine was not quiet; empty where it was."""
    found = [f"a load of {self.load:.1f} before"] if self.load > _LOAD else []
    if (taken := self.taken()) > _TAKEN:
      found.append(f"other processes took {taken:.0%} of its cores")
    return f"the machine was not quiet: {', and '.join(found)}" if found else ""


def _seconds() -> tuple[float, float]:
  words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
  user, nice, system, _, _, irq, soft, *_ = (int(word) for word in words)
  busy = (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")
  return busy, sum(os.times()[:4])
