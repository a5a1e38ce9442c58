"""Several processes, one on each host, that go on together or end together.

Over the key-value store of JAX's coordination service they compare what must be the
same, and hear of each other's errors: one that fails or is lost ends all, with a line,
instead of leaving the others in a collective for ever.

JAX 0.10 has no more for this, as tried: `multihost_utils.assert_equal` compares arrays
of numbers, after a backend exists, and does not say whose differ; a loss aborts the
others once heartbeats are missed, and `jax_enable_recoverability`, with which
`live_devices` names who is left, does not keep them alive when process 0 is lost.
"""

import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jax

from robustjax.errors import MISTAKE, STOPPED
from robustjax.hosts import meeting, tunnel
from robustjax.hosts.cluster import Member
from robustjax.hosts.meeting import LOST
from robustjax.hosts.messages import clean, get, put
from robustjax.hosts.pace import REMIND, Pace
from robustjax.hosts.peer import Peer
from robustjax.hosts.stopping import Stopping
from robustjax.runtime import log
from robustjax.runtime.preemption import Stop, Stopped

ALIKE = "start the same command with the same installation on every host"
ONE_WORKDIR = "every host must see the same files in --workdir"
ONE_DATA_SET = "every host must read the same data set"

_CONNECT = 120  # seconds for JAX, once all are there; one that is lost is said before
_SILENCE = 45  # seconds without a word from one that should send signs of life
_HEARTBEAT = 300  # seconds; JAX aborts after them, or soon after half of them
_PING = 10  # seconds between two signs of life, which the tunnel wants sooner
_PATIENCE = 5  # seconds for the others to end first, or to say why
_END = "robustjax/end"  # why all end: a line and a status, or neither once all is done


class Hosts:
  """The processes of a run, as one of them sees them.

  Args:
    member: which one this is; None if it is alone.
    peers: of process 0: all the others; of the others: process 0.
  """

  def __init__(self, member: Member | None = None, peers: Sequence[Peer] = ()):
    self._member, self._peers = member, peers
    self._ending = threading.Lock()  # the first to end this process keeps it
    self._connected, self._done = threading.Event(), threading.Event()
    self._folder = ""
    self._agreed = 0
    self._stopping = Stopping(member.process, member.processes) if member else None

  @property
  def leads(self) -> bool:
    """Whether this process writes the files and talks to the person."""
    return self._member is None or self._member.process == 0

  def connect(self) -> None:
    """Starts JAX's own coordination, once all processes are there."""
    if self._member is None or self._stopping is None:
      return
    # Not in $TMPDIR: the path of a Unix socket has at most 107 bytes.
    self._folder = tempfile.mkdtemp(prefix="robustjax-", dir="/tmp")
    path = f"{self._folder}/jax"
    for peer in self._peers:
      tunnel.dig(peer, path, self.leads, self._silence, self._lose)
    jax.config.update("jax_enable_preemption_service", False)  # `stopping` is ours
    jax.distributed.initialize(
      f"unix:{path}",
      self._member.processes,
      self._member.process,
      local_device_ids=self._member.devices,
      cluster_detection_method="deactivate",
      coordinator_bind_address=f"unix:{path}",
      initialization_timeout=_CONNECT,
      heartbeat_timeout_seconds=_HEARTBEAT,
    )
    self._connected.set()
    shutil.rmtree(self._folder, ignore_errors=True)
    self._stopping.start()
    pace = Pace(self._member, self._peers, self._stopping)
    threading.Thread(target=self._listen, args=[pace], daemon=True).start()

  def stops(self, wanted: bool) -> bool:
    """Whether all stop now, as of `Stopping.poll`: what a `Stop` asks."""
    return self._stopping.poll(wanted) if self._stopping else wanted

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
    if self._member is None:
      return note
    self._agreed += 1
    key = f"robustjax/agree/{self._agreed}"
    if not self.leads:
      put(f"{key}/{self._member.process}", mine)
      return str(self._get(f"{key}/0", self._peers[0])["note"])
    every = [self._get(f"{key}/{peer.process}", peer) for peer in self._peers]
    if line := self._difference(self._member, [mine, *every], remedy):
      self._end(line, MISTAKE)  # no exception: each process prints the line once
    put(f"{key}/0", {"note": note})
    return note

  def end(self, line: str, status: int) -> None:
    """Says why this process cannot go on, and ends all: they hear the same line.

    Args:
      line: what is wrong.
      status: the exit status.

    Returns:
      Only if this process is alone.
    """
    if self._member:
      self._ending.acquire()
    log.complain(f"error: {line}")
    if self._member:
      self._exit(f"{self._member.name()}: {line}", status)

  def broke(self, error: Exception) -> None:
    """Ends all because of an error that nobody foresaw, with its traceback.

    Returns:
      Only if this process is alone.
    """
    if self._member is None:
      return
    # A collective fails where another process is lost: that is the thing to say.
    time.sleep(_PATIENCE)
    self._ending.acquire()
    traceback.print_exception(error)
    what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    self._exit(f"{self._member.name()} failed: {what}; its own output says more", LOST)

  def leave(self, stopped: bool = False) -> None:
    """Waits until all processes are done, and disconnects.

    Args:
      stopped: whether all end by a signal, which may come to each a little later.
    """
    if self._member is None or self._stopping is None:
      return
    if not stopped:
      Stop().at_once("stopped; what this process had to do is done")
    if self.leads:
      for peer in self._peers:
        self._get(f"robustjax/done/{peer.process}", peer)
      put(_END, {})
    else:
      put(f"robustjax/done/{self._member.process}", {})
    while not self._done.wait(1):
      pass
    self._stopping.end()
    jax.distributed.shutdown()
    self._wait_for_peers()

  def _silence(self, spoke: bool) -> float:
    """Seconds for the other end: until all are connected, all that were first wait."""
    waits = spoke and not self._connected.is_set()
    return 2 * _SILENCE if waits else _SILENCE

  def _get(self, key: str, peer: Peer) -> dict[str, Any]:
    """Waits for the value of a key that another process sets."""
    remind = time.monotonic() + REMIND
    while (value := get(key, 1)) is None:  # not longer: Ctrl-C is heard in between
      if self.leads and time.monotonic() > remind:
        log.complain(f"waiting for {peer.name}")
        remind += REMIND
    return value

  def _difference(
    self, member: Member, every: list[dict[str, Any]], remedy: str
  ) -> str:
    """The first fact that is not the same everywhere, and who has which value."""
    names = [member.name(), *(peer.name for peer in self._peers)]
    for fact in sorted(set().union(*every)):
      values = [facts.get(fact) for facts in every]
      for name, value in zip(names, values, strict=True):
        if value != values[0]:
          return (
            f"{fact} is {values[0]!r} on {names[0]} and {value!r} on {name}: {remedy}"
          )
    return ""

  def _listen(self, pace: Pace) -> None:
    """Waits for the word that all end."""
    while (told := get(_END, _PING)) is None:
      pace.say()  # its answer is a sign of life
    if told:
      self._obey(told)
    self._done.set()

  def _lose(self, peer: Peer, how: str) -> None:
    """Ends all where one has gone; what it said before comes first."""
    if self._done.is_set():
      return
    told = None
    if self.leads and self._connected.is_set():  # or JAX's client would abort
      told = get(_END, 0.1)
    if told is None:
      what = "the same command on every host goes on from the last checkpoint"
      told = {"line": f"{peer.name} {how}: {what}"}
    self._obey(told)

  def _obey(self, told: Mapping[str, Any]) -> None:
    status = MISTAKE if told.get("status") == MISTAKE else LOST
    self._end(clean(told.get("line")), status)

  def _end(self, line: str, status: int) -> NoReturn:
    """Ends all with the same line."""
    self._ending.acquire()
    line = clean(line)
    log.complain(f"error: {line}")
    self._exit(line, status)

  def _exit(self, line: str, status: int) -> NoReturn:
    reachable = self.leads or not self._peers[0].gone.is_set()
    if reachable and self._connected.is_set():
      told = {"line": line, "status": status}
      telling = threading.Thread(target=put, args=[_END, told], daemon=True)
      telling.start()
      telling.join(_PATIENCE)  # process 0 may go now, and then nobody answers
    self._wait_for_peers()
    for child in multiprocessing.active_children():  # the data's workers
      child.kill()
    shutil.rmtree(self._folder, ignore_errors=True)
    sys.stdout.flush()
    # What a usual exit does would wait for processes that are no more.
    os._exit(status)

  def _wait_for_peers(self) -> None:
    if self.leads:  # or they would lose JAX's service before they have heard all
      until = time.monotonic() + _PATIENCE
      for peer in self._peers:
        peer.gone.wait(max(0.0, until - time.monotonic()))


def join(member: Member | None, facts: Mapping[str, Any], wait: int) -> Hosts:
  """Meets the other processes, connects JAX and compares facts.

  Call it before anything else of JAX is used. Alone, it does nothing.

  Args:
    member: from `cluster.member`.
    facts: as of `Hosts.agree`; in the --workdir among them is the processes' secret.
    wait: seconds within which all processes must come.

  Returns:
    The processes.

  Raises:
    meeting.Absent: one does not come in time.
    UserError: one is there twice or counts the processes otherwise.
    Stopped: by Ctrl-C.
  """
  if member is None:
    return Hosts()
  try:
    hosts = Hosts(member, meeting.meet(member, Path(facts["--workdir"]), wait))
  except KeyboardInterrupt:
    raise Stopped("before all processes had met") from None
  try:
    hosts.connect()
    hosts.agree(facts)
  except KeyboardInterrupt:  # JAX would wait for the others at a usual exit
    hosts.end("stopped by Ctrl-C before all processes had agreed", STOPPED)
  return hosts


def status(error: BaseException) -> int:
  """The exit status for an error that a person can mend, or that mends itself."""
  return LOST if isinstance(error, meeting.Absent) else MISTAKE
