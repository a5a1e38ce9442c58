"""Several processes, one on each host, that go on together or end together.

Each keeps the connection to process 0 over which they met. Over it they compare what
must be the same, and hear of each other's errors: one that fails or is lost ends all,
with a line, instead of leaving the others in a collective for ever.

A message is `{"facts": ...}`, `{"error": ..., "status": ...}` or `{"done": ...}`.
"""

import hashlib
import json
import multiprocessing
import os
import queue
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import jax

from robustjax.errors import UserError
from robustjax.runtime import log, rendezvous
from robustjax.runtime.preemption import Stopped
from robustjax.runtime.rendezvous import Peer, Place

MISTAKE, LOST = rendezvous.MISTAKE, rendezvous.LOST  # exit statuses

ALIKE = "start the same command with the same installation on every host"
ONE_WORKDIR = "every host must see the same files in --workdir"
ONE_DATA_SET = "every host must read the same data set"

_CONNECT = 60  # seconds for JAX, once all processes are there
_REMIND = 30  # seconds between two lines about who is waited for
_PATIENCE = 5  # seconds for the others to end first, or to say why


def code() -> dict[str, str]:
  """File of this package -> the beginning of its SHA-256."""
  package = Path(__file__).parents[1]
  return {
    f"{package.name}/{path.relative_to(package).as_posix()}": hashlib.sha256(
      path.read_bytes()
    ).hexdigest()[:12]
    for path in sorted(package.rglob("*.py"))
  }


class Hosts:
  """The processes of a run, as one of them sees them.

  Args:
    place: which one this is; None if it is alone.
    peers: of process 0: all the others; of the others: process 0.
  """

  def __init__(self, place: Place | None = None, peers: list[Peer] | None = None):
    self._place, self._peers = place, peers or []
    self._ending = threading.Lock()  # taken by whoever ends this process
    for peer in self._peers:
      threading.Thread(target=self._watch, args=[peer], daemon=True).start()

  @property
  def leads(self) -> bool:
    """Whether this process writes the files and talks to the person."""
    return self._place is None or self._place.process == 0

  def agree(self, facts: Mapping[str, Any], note: str = "", remedy: str = ALIKE) -> str:
    """Waits for all processes and compares what they say.

    Every process calls it, at the same point. If they differ, all end with a line
    that names the first difference.

    Args:
      facts: name -> JSON value; what must be the same everywhere.
      note: of process 0: what it tells the others.
      remedy: how they come to be the same.

    Returns:
      The note of process 0.
    """
    mine: dict[str, Any] = json.loads(json.dumps(facts))
    if not self.leads:
      (leader,) = self._peers
      leader.send({"facts": mine})
      return str(leader.inbox.get()["note"])
    every = [mine, *(self._receive(peer) for peer in self._peers)]
    if line := self._difference(every, remedy):
      # No exception: whoever is told sends the line back, to be printed again.
      self._take_over()
      self._end_all(line, MISTAKE)
    for peer in self._peers:
      peer.send({"facts": {"note": note}})
    return note

  def end(self, line: str, status: int) -> None:
    """Says why this process cannot go on, and ends all: they hear the same line.

    Args:
      line: what is wrong.
      status: the exit status.

    Returns:
      Only if this process is alone.
    """
    self._take_over()
    log.complain(f"error: {line}")
    if self._peers:
      self._tell(f"{self._me()}: {line}", status)
      self._exit(status)

  def broke(self, error: Exception) -> None:
    """Ends all because of an error that nobody foresaw, with its traceback.

    Returns:
      Only if this process is alone.
    """
    if not self._peers:
      return
    # A collective fails where another process is lost: that is the thing to say.
    time.sleep(_PATIENCE)
    self._take_over()
    traceback.print_exception(error)
    what = f"{type(error).__name__}: {rendezvous.one_line(error)[:200]}"
    self._tell(f"{self._me()} failed: {what}; its own output says more", LOST)
    self._exit(LOST)

  def leave(self) -> None:
    """Waits until all processes are done, and disconnects."""
    if not self._peers:
      return
    if not self.leads:
      self._peers[0].send({"done": True})
    for peer in self._peers:
      peer.done.wait()
    for peer in self._peers if self.leads else ():
      peer.send({"done": True})
    jax.distributed.shutdown()

  def connect(self) -> None:
    """Starts JAX's own coordination, once all processes are there."""
    if self._place is None:
      return
    coordinator, processes, process, devices = self._place
    line = (
      f"all processes came, but JAX does not connect them at {coordinator} within"
      f" {_CONNECT} s: see that nothing else takes that port, and unset http_proxy"
    )
    late = threading.Timer(_CONNECT, self._end, [line, LOST])
    late.daemon = True
    late.start()
    jax.distributed.initialize(
      coordinator,
      processes,
      process,
      local_device_ids=devices,
      cluster_detection_method="deactivate",
      initialization_timeout=2 * _CONNECT,  # it would abort
    )
    late.cancel()

  def _me(self) -> str:
    assert self._place is not None
    return _name(self._place.process, self._place.processes, socket.gethostname())

  def _name(self, peer: Peer) -> str:
    assert self._place is not None
    return _name(peer.process, self._place.processes, peer.host)

  def _receive(self, peer: Peer) -> dict[str, Any]:
    while True:
      try:
        return peer.inbox.get(timeout=_REMIND)
      except queue.Empty:
        log.complain(f"waiting for {self._name(peer)}")

  def _difference(self, every: list[dict[str, Any]], remedy: str) -> str:
    """The first fact that is not the same everywhere, and who has which value."""
    names = [self._me(), *map(self._name, self._peers)] if self._peers else [""]
    for fact in sorted(set().union(*every)):
      values = [facts.get(fact) for facts in every]
      for name, value in zip(names, values, strict=True):
        if value != values[0]:
          return (
            f"{fact} is {values[0]!r} on {names[0]} and {value!r} on {name}: {remedy}"
          )
    return ""

  def _watch(self, peer: Peer) -> None:
    """Takes in what a process sends until it is gone; a thread for each."""
    while message := rendezvous.read(peer.lines):
      if "error" in message:
        # In another thread: this one has yet to see the other process go.
        told = message["error"], message["status"]
        threading.Thread(target=self._end, args=told).start()
      elif "done" in message:
        peer.done.set()
      else:
        peer.inbox.put(message["facts"])
    peer.gone.set()
    if not peer.done.is_set():
      self._end(
        f"{self._name(peer)} is lost: the same command on every host goes on from the"
        " last checkpoint",
        LOST,
      )

  def _take_over(self) -> None:
    """Makes it the caller's to end this process, unless another thread is at it."""
    if not self._ending.acquire(blocking=False):
      threading.Event().wait()

  def _end(self, line: str, status: int) -> None:
    """Ends this process on another's word, whatever its main thread does."""
    if self._ending.acquire(blocking=False):
      self._end_all(line, status)

  def _end_all(self, line: str, status: int) -> NoReturn:
    """Ends all with the same line; for whoever has taken over."""
    log.complain(f"error: {line}")
    self._tell(line, status)
    self._exit(status)

  def _tell(self, line: str, status: int) -> None:
    for peer in self._peers:
      peer.send({"error": line, "status": status})

  def _exit(self, status: int) -> NoReturn:
    if self.leads:  # where JAX's service ends first, JAX aborts the others
      until = time.monotonic() + _PATIENCE
      for peer in self._peers:
        peer.gone.wait(max(0.0, until - time.monotonic()))
    for child in multiprocessing.active_children():  # the data's workers
      child.kill()
    sys.stdout.flush()
    # What a usual exit does would wait for processes that are no more.
    os._exit(status)


def join(place: Place | None, facts: Mapping[str, Any], wait: int) -> Hosts:
  """Meets the other processes, compares facts with them and connects JAX.

  Call it before anything else of JAX is used. Alone, it does nothing.

  Args:
    place: from `rendezvous.place`.
    facts: as of `Hosts.agree`.
    wait: seconds within which all processes must come.

  Returns:
    The processes.

  Raises:
    rendezvous.Absent: one does not come in time.
    UserError: one is there twice or counts the processes otherwise.
    Stopped: by Ctrl-C.
  """
  if place is None:
    return Hosts()
  try:
    hosts = Hosts(place, rendezvous.meet(place, wait))
    hosts.agree(facts)
    hosts.connect()
  except KeyboardInterrupt:
    raise Stopped("before all processes had met") from None
  return hosts


def status(error: UserError) -> int:
  """The exit status for an error that a person can mend, or that mends itself."""
  return LOST if isinstance(error, rendezvous.Absent) else MISTAKE


def _name(process: int, processes: int, host: str) -> str:
  return f"process {process} of {processes} ({host})"
