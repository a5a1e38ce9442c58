"""Being told to stop: SIGTERM from a cloud or a cluster, Ctrl-C or a closed terminal.

Every long loop asks `Stop.requested` at each of its steps, saves, and raises `Stopped`.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

import jax
from jax.experimental import multihost_utils

from robustjax.errors import STOPPED


class Stopped(Exception):
  """The run was asked to stop and has saved what it had."""


class Stop:
  """Notes SIGTERM, SIGINT and SIGHUP; a second SIGINT ends the process at once.

  Attributes:
    polls: how often it was asked, which is the same on every process.
  """

  def __init__(self) -> None:
    self._signal: int | None = None
    self._synced = False
    self.polls = 0

  def listen(self) -> "Stop":
    """Takes the signals over from the process."""
    for number in _heard():
      # With several processes JAX's own handler must stay: it tells the other hosts.
      if number != signal.SIGTERM or jax.process_count() == 1:
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
    if jax.process_count() > 1:
      os.kill(os.getpid(), signal.SIGTERM)  # for JAX's handler
    _tell("Stopping as soon as this step is saved; Ctrl-C again ends at once.")

  def requested(self) -> bool:
    """Whether to stop now: the same answer on every process, at the same poll."""
    self.polls += 1
    if jax.process_count() == 1:
      return self._signal is not None
    # True at one poll only, which may be one that cannot act on it.
    synced = multihost_utils.reached_preemption_sync_point(self.polls)
    self._synced = self._synced or synced
    return self._synced


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
