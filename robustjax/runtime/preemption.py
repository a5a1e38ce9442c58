"""Being told to stop: SIGTERM from a cloud or a cluster, Ctrl-C from a person.

Every long loop asks `Stop.requested` at each of its steps, saves, and raises `Stopped`.
"""

import os
import signal
import sys
from types import FrameType

import jax
from jax.experimental import multihost_utils


class Stopped(Exception):
  """The run was asked to stop and has saved what it had."""


class Stop:
  """Notes SIGTERM and SIGINT; a second SIGINT ends the process at once."""

  def __init__(self) -> None:
    self._signal: int | None = None
    self._synced = False
    self._polls = 0

  def listen(self) -> "Stop":
    """Takes the two signals over from the process."""
    signal.signal(signal.SIGINT, self._note)
    # With several processes JAX's own handler must stay: it tells the other hosts.
    if jax.process_count() == 1:
      signal.signal(signal.SIGTERM, self._note)
    return self

  def release(self) -> None:
    """Gives the two signals back: from here on they end the process at once."""
    for number in (signal.SIGTERM, signal.SIGINT):
      signal.signal(number, signal.SIG_DFL)

  def _note(self, number: int, frame: FrameType | None) -> None:
    if self._signal == signal.SIGINT and number == signal.SIGINT:
      os._exit(128 + signal.SIGINT)  # an exception would meet half-done device work
    self._signal = number
    if jax.process_count() > 1:
      os.kill(os.getpid(), signal.SIGTERM)  # for JAX's handler
    what = "Stopping as soon as this step is saved; Ctrl-C again ends at once."
    print(f"\n{what}", file=sys.stderr, flush=True)

  def requested(self) -> bool:
    """Whether to stop now: the same answer on every process, at the same poll."""
    self._polls += 1
    if jax.process_count() == 1:
      return self._signal is not None
    # True at one poll only, which may be one that cannot act on it.
    synced = multihost_utils.reached_preemption_sync_point(self._polls)
    self._synced = self._synced or synced
    return self._synced
