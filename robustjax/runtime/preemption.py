"""Being told to stop: SIGTERM from a cloud or a cluster, Ctrl-C or a closed terminal.

Every long loop asks `Stop.requested` at each of its steps, saves, and raises `Stopped`.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

from robustjax.errors import STOPPED


class Stopped(Exception):
  """The run was asked to stop and has saved what it had."""


class Stop:
  """Notes SIGTERM, SIGINT and SIGHUP; a second SIGINT ends the process at once.

  Args:
    agree: given whether this process was asked to stop, says whether all stop now.
  """

  def __init__(self, agree: Callable[[bool], bool] = bool) -> None:
    self._signal: int | None = None
    self._agree = agree

  def listen(self) -> "Stop":
    """Takes the signals over from the process."""
    for number in _heard():
      signal.signal(number, self._note)
    return self

  def at_once(self, line: str) -> None:
    """From now on nothing waits to be saved: a signal ends the process with a line."""

    def end(number: int, frame: FrameType | None) -> None:
      _tell(line)
      os._exit(STOPPED)

    for number in _heard():
      signal.signal(number, end)

  def _note(self, number: int, frame: FrameType | None) -> None:
    if self._signal == signal.SIGINT and number == signal.SIGINT:
      os._exit(128 + signal.SIGINT)  # an exception would meet half-done device work
    self._signal = number
    _tell("Stopping as soon as this step is saved; Ctrl-C again ends at once.")

  def requested(self) -> bool:
    """Whether to stop now: the same answer on every process, at the same poll."""
    return self._agree(self._signal is not None)


@contextlib.contextmanager
def handed_back(alone: bool) -> Iterator[None]:
  """Gives the signals back at the end to what called a command, such as a notebook.

  Args:
    alone: whether the process ends with the command, which then hears them to the last.
  """
  before = {number: signal.getsignal(number) for number in _heard()}
  try:
    yield
  finally:
    for number, handler in before.items():
      if not alone and handler is not None:
        signal.signal(number, handler)


def _heard() -> list[signal.Signals]:
  """The signals that stop a run; SIGHUP, of a terminal that is gone, without nohup."""
  ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
  return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]


def _tell(line: str) -> None:
  """Says a line, if anybody is there: the handler is called within any statement."""
  with contextlib.suppress(OSError, ValueError):
    print(f"\n{line}", file=sys.stderr, flush=True)
