"""Stopping together: all processes stop at the same poll.

JAX's `reached_preemption_sync_point` does the same, but holds the interpreter's lock
while it waits for the others' counts, as tried in jax 0.10. Its own connection needs
that lock here (`tunnel`): where a poll met that wait, all stood still until JAX's
heartbeats ended them.
"""

import threading

from robustjax.hosts.messages import get, put

_KEY = "robustjax/stop"
_WAIT = 10  # seconds in which a word is waited for before it is asked for again
_PATIENCE = 5  # seconds for the thread to end: an exit would abort while JAX holds it


class Stopping:
  """Agrees on the first poll that no process has passed when one wants to stop.

  Args:
    process: the number of this one.
    processes: how many there are.

  Attributes:
    polls: how often this process has asked, which it does in steps that all take.
  """

  def __init__(self, process: int, processes: int):
    self.polls = 0
    self._process, self._processes = process, processes
    self._still = threading.Lock()  # held: no process goes past the poll it is at
    self._told = False
    self._at: int | None = None
    self._thread = threading.Thread(target=self._listen, daemon=True)

  def start(self) -> None:
    """Listens for the others from now on, in a thread."""
    self._thread.start()

  def end(self) -> None:
    """Ends that, once no process polls any more; all call it."""
    put(_KEY, {"over": True})
    self._thread.join(_PATIENCE)

  def poll(self, wanted: bool) -> bool:
    """Whether to stop now: the same answer on every process, at the same poll.

    Args:
      wanted: whether this process was asked to.
    """
    if wanted and not self._told:
      self._told = True
      put(_KEY, {})
    with self._still:
      self.polls += 1
      return self._at is not None and self.polls >= self._at

  def _listen(self) -> None:
    """Waits until a process wants to stop, and agrees."""
    while (told := get(_KEY, _WAIT)) is None:
      pass
    if told:
      return
    with self._still:
      put(f"{_KEY}/{self._process}", {"polls": self.polls})
      self._at = 1 + max(self._polls(process) for process in range(self._processes))

  def _polls(self, process: int) -> int:
    """How often a process has asked; one that is lost ends all before it answers."""
    while (told := get(f"{_KEY}/{process}", _WAIT)) is None:
      pass
    polls = told.get("polls")
    return polls if isinstance(polls, int) else 0
