"""Where the processes of a run meet, before JAX connects them.

JAX waits for one that is missing without a word, and then aborts. So process 0 first
listens at the coordinator's address itself, the others come there, each over one plain
TCP connection, and who is missing can be named. A message is a line of JSON.
"""

import contextlib
import dataclasses
import errno
import json
import os
import queue
import select
import socket
import threading
import time
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

# Private, but JAX has no other way to say where it would connect to.
from jax._src.clusters import ClusterEnv

from robustjax.errors import UserError
from robustjax.runtime import log

MISTAKE, LOST = 2, 1  # exit statuses: of the second, the same command may do

_GREETING = 5  # seconds for one line from a process that has just connected
_REMIND = 10  # seconds between two lines about who is waited for
_LONGEST = 2**20  # bytes of a line


class Absent(UserError):
  """A process is late or gone; the next time it may come: the exit status is LOST."""


class Place(NamedTuple):
  """Which of several processes this one is.

  Attributes:
    coordinator: "host:port", where process 0 is.
    processes: how many there are, at least 2.
    process: which one this is, from 0.
    devices: the local devices that this process may use; all of them if None.
  """

  coordinator: str
  processes: int
  process: int
  devices: tuple[int, ...] | None = None


def place(
  coordinator: str | None, processes: int | None, process: int | None, wait: int
) -> Place | None:
  """Which process this is: what the flags say, or else the cluster.

  JAX knows Cloud TPU, GKE, Slurm, Open MPI and Kubernetes, from their environment
  variables; it asks the network only on a machine with TPUs.

  Args:
    coordinator: "host:port", or None.
    processes: how many, or None; 1 is this process alone, whatever the cluster says.
    process: which, or None.
    wait: seconds within which the cluster must know its coordinator.

  Returns:
    None if there is one process alone.

  Raises:
    UserError: the flags make no sense, or the cluster cannot say.
  """
  if (coordinator, processes, process) == (None, None, None):
    return _of_cluster(wait)
  if processes == 1 and process in (None, 0):
    return None
  if coordinator is None or processes is None or process is None:
    raise UserError(
      "--coordinator=HOST:PORT, --processes=N and --process=0 to N-1 go together"
    )
  host, _, port = coordinator.rpartition(":")
  if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
    raise UserError(f"--coordinator is {coordinator!r}: write HOST:PORT")
  if processes < 1 or not 0 <= process < processes:
    raise UserError(
      f"--process={process} is not one of --processes={processes}: count from 0"
    )
  return Place(coordinator, processes, process)


def _of_cluster(wait: int) -> Place | None:
  with warnings.catch_warnings():
    if "JOB_COMPLETION_INDEX" not in os.environ:
      # A pod of Kubernetes that is no part of a job is a machine like any other.
      warnings.simplefilter("ignore")
    try:
      address, processes, process, devices = (
        ClusterEnv.auto_detect_unset_distributed_params(
          None, None, None, None, None, wait
        )
      )
    except Exception as error:  # anything that a metadata server can cause
      raise UserError(
        "this machine is part of a cluster, but which is not known"
        f" ({one_line(error)}): give --coordinator, --processes and --process, or"
        " --processes=1 for a run on this machine alone"
      ) from error
  if address is None or processes is None or process is None or processes < 2:
    return None
  return Place(address, processes, process, tuple(devices) if devices else None)


@dataclasses.dataclass
class Peer:
  """Another process: the connection to it, and what has come from there.

  Attributes:
    process: which one it is.
    host: its name.
    socket: for writing.
    lines: for reading.
    inbox: the facts that it has sent.
    done: set once it has nothing more to do.
    gone: set once it has ended.
  """

  process: int
  host: str
  socket: socket.socket
  lines: Any
  inbox: "queue.Queue[dict[str, Any]]" = dataclasses.field(default_factory=queue.Queue)
  done: threading.Event = dataclasses.field(default_factory=threading.Event)
  gone: threading.Event = dataclasses.field(default_factory=threading.Event)

  def send(self, message: Mapping[str, Any]) -> None:
    """Sends a message, if the process is still there."""
    # One that is gone is noticed where its messages are read.
    with contextlib.suppress(OSError):
      self.socket.sendall(json.dumps(message).encode() + b"\n")

  def close(self) -> None:
    """Ends the connection."""
    self.lines.close()
    self.socket.close()


def meet(place: Place, wait: float) -> list[Peer]:
  """Waits until all processes are there.

  Args:
    place: which one this is.
    wait: seconds after which it gives up.

  Returns:
    Of process 0: all the others, in order; of the others: process 0.

  Raises:
    Absent: one does not come in time.
    UserError: one is there twice or counts the processes otherwise.
  """
  until = time.monotonic() + wait
  return _lead(place, until) if place.process == 0 else [_follow(place, until)]


def _lead(place: Place, until: float) -> list[Peer]:
  """Process 0: waits for the others; returns them in order."""
  there: dict[int, Peer] = {}
  reminder = _Reminder(until)
  with _listen(place) as server:
    while missing := [p for p in range(1, place.processes) if p not in there]:
      who = _who(missing, place)
      if line := reminder.waiting_for(f"{who} to come to {place.coordinator}"):
        for peer in there.values():
          peer.send(_zero() | {"waiting": line})
      if reminder.late():
        line = (
          f"{who} did not come to {place.coordinator} in time: start it there with"
          f" --coordinator={place.coordinator} --processes={place.processes}"
          f" --process={missing[0]}, or wait longer with --wait=SECONDS"
        )
        for peer in there.values():
          peer.send({"error": line, "status": LOST})
          peer.close()
        raise Absent(line)
      sockets = {peer.socket: p for p, peer in there.items()}
      # The server last: one that has left may be on its way back.
      for ready in select.select([*sockets, server], [], [], 0.5)[0]:
        if ready is server:
          if come := _welcome(server, place, there):
            there[come.process] = come
        else:  # only its end says something before it is asked
          there.pop(sockets[ready]).close()
  for peer in there.values():
    peer.send(_zero() | {"all": True})
  return [there[p] for p in sorted(there)]


def _listen(place: Place) -> socket.socket:
  port = int(place.coordinator.rpartition(":")[2])
  try:
    if socket.has_dualstack_ipv6():
      return socket.create_server(
        ("", port), family=socket.AF_INET6, dualstack_ipv6=True
      )
    return socket.create_server(("", port))
  except OSError as error:
    if error.errno not in (errno.EADDRINUSE, errno.EACCES):
      raise
    raise UserError(
      f"port {port} of this machine cannot be used ({os.strerror(error.errno)}): end"
      " the other process 0, or name another port with --coordinator"
    ) from error


def _welcome(
  server: socket.socket, place: Place, there: Mapping[int, Peer]
) -> Peer | None:
  """Takes in one process that has come; None if it is none of this run's."""
  connection, (address, *_) = server.accept()
  peer = _greet(connection, place)
  hello = read(peer.lines)
  if not isinstance(hello.get("process"), int):  # somebody else's, or gone already
    peer.close()
    return None
  connection.settimeout(None)
  peer.process, peer.host = hello["process"], str(hello.get("host", address))
  if (count := hello.get("processes")) != place.processes:
    wrong = f"it has --processes={count}, and process 0 has {place.processes}"
  elif peer.process in there:
    other = there[peer.process].host
    wrong = f"another process is --process={peer.process} already, on {other}"
  elif not 0 < peer.process < place.processes:
    wrong = f"--process={peer.process} is not one of 1 to {place.processes - 1}"
  else:
    peer.send(_zero())
    return peer
  peer.send({"error": f"process 0 refuses this one: {wrong}", "status": MISTAKE})
  peer.close()
  return None


def _follow(place: Place, until: float) -> Peer:
  """Another process: finds process 0."""
  host, _, port = place.coordinator.rpartition(":")
  reminder = _Reminder(until)
  hello = {"processes": place.processes, "process": place.process}
  while True:
    try:
      connection = socket.create_connection((host.strip("[]"), int(port)), _GREETING)
      peer = _greet(connection, place)
      peer.send(hello | {"host": socket.gethostname()})
      if _starts(peer):
        return peer
      reason = "what answers there does not wait for processes"
    except OSError as error:
      reason = str(error.strerror or error)
    who = _who([0], place)
    reminder.waiting_for(f"{who} at {place.coordinator} ({reason})")
    if reminder.late():
      raise Absent(
        f"{who} is not at {place.coordinator} ({reason}): start it there with"
        f" --coordinator={place.coordinator} --processes={place.processes} --process=0,"
        " or wait longer with --wait=SECONDS"
      )
    time.sleep(0.5)


def _starts(peer: Peer) -> bool:
  """Waits until process 0 says that all are there; False if it ends before."""
  starts = False
  try:
    while not starts and (answer := read(peer.lines)):
      if "error" in answer:
        kind = Absent if answer.get("status") == LOST else UserError
        raise kind(str(answer["error"]))
      if answer.get("process") != 0:
        break
      peer.host = str(answer.get("host"))
      # Process 0 says something every _REMIND seconds, or hangs.
      peer.socket.settimeout(None if "all" in answer else 3 * _REMIND)
      if "waiting" in answer:
        log.complain(str(answer["waiting"]))
      starts = "all" in answer
  finally:
    if not starts:
      peer.close()
  return starts


def _greet(connection: socket.socket, place: Place) -> Peer:
  connection.settimeout(_GREETING)
  # A host that is gone without a word is noticed within a minute.
  connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
  for option, seconds in (("IDLE", 20), ("INTVL", 10), ("CNT", 3)):
    connection.setsockopt(
      socket.IPPROTO_TCP, getattr(socket, f"TCP_KEEP{option}"), seconds
    )
  return Peer(0, "", connection, connection.makefile("rb"))


class _Reminder:
  """Says now and then who is waited for, and for how long yet."""

  def __init__(self, until: float):
    self._until = until
    self._next = time.monotonic() + 1  # usually all come at once

  def waiting_for(self, whom: str) -> str:
    """Says it, and returns the line if it was time for one."""
    now = time.monotonic()
    if now < self._next:
      return ""
    self._next = now + _REMIND
    left = max(0, round(self._until - now))
    log.complain(line := f"waiting for {whom}; gives up in {left} s")
    return line

  def late(self) -> bool:
    return time.monotonic() >= self._until


def _zero() -> dict[str, Any]:
  return {"process": 0, "host": socket.gethostname()}


def read(lines: Any) -> dict[str, Any]:
  """The next message of `Peer.lines`; empty at the end, and where it is no message."""
  try:
    message = json.loads(lines.readline(_LONGEST) or b"{}")
  except (OSError, ValueError):
    return {}
  return message if isinstance(message, dict) else {}


def _who(missing: list[int], place: Place) -> str:
  few = ", ".join(map(str, missing[:8])) + (" and more" if len(missing) > 8 else "")
  return f"process{'es' if len(missing) > 1 else ''} {few} of {place.processes}"


def one_line(error: Exception) -> str:
  """The error's message, on one line."""
  return " ".join(str(error).split())
