"""Where the processes of a run meet, and the connections that JAX then talks through.

What JAX's coordination service cannot do, tried with jax 0.10:

- Wait and say for whom. Its key-value store serves nobody before all are connected, and
  whoever waits too long is aborted, with a C++ stack that does not name the absent.
- Let the others end with a line. They abort within 10 ms of the death of process 0; a
  Python callback in place of that aborts as well (std::bad_cast).
- Ask who comes. By default it listens on every interface, and trusts whoever connects.

So process 0 listens itself, at the coordinator's own address, and only until all are
there; a message is a line of JSON. JAX's service is at a Unix socket in a folder that
no other user can enter, and the client of each other process reaches it through the
connection over which that process came. Towards JAX that stays open even where the
other end is lost, so that there is time for a line.

Who does not know the run, its --workdir and $ROBUSTJAX_SECRET, is turned away. Nothing
is encrypted: whoever reads the network can learn the digest of the two, and all else.
"""

import contextlib
import errno
import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from robustjax.errors import UserError
from robustjax.hosts.cluster import Place
from robustjax.runtime import log

MISTAKE, LOST = 2, 1  # exit statuses: of the second, the same command may do

_GREETING = 5  # seconds for one line from a process that has just connected
_REMIND = 10  # seconds between two lines about who is waited for
_SILENCE = 45  # seconds; JAX's heartbeats come more often
_LONGEST = 4096  # bytes of a line
_THREADS = 200  # of this process; who calls while there are more may call again


class Absent(UserError):
  """A process is late or gone; the next time it may come: the exit status is LOST."""


class Peer:
  """Another process.

  Attributes:
    process: which one it is.
    host: its name.
    socket: the connection to it.
    gone: set once it has ended, or is silent.
  """

  def __init__(self, process: int, host: str, connection: socket.socket):
    self.process, self.host, self.socket = process, host, connection
    self.gone = threading.Event()

  def send(self, **message: Any) -> None:
    """Sends a line, if the process is still there."""
    with contextlib.suppress(OSError):  # its end is noticed where it is read
      self.socket.sendall(json.dumps(message).encode() + b"\n")

  def left(self) -> bool:
    """Whether it has gone before the start, until when it has nothing to say."""
    try:
      return self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) is not None
    except OSError as error:
      return not isinstance(error, BlockingIOError)

  def carry(self, path: str, leads: bool, lost: Callable[["Peer", str], None]) -> None:
    """Makes the connection JAX's; two threads do the work.

    Args:
      path: the Unix socket where JAX's service listens, or its client looks for it.
      leads: whether the service is on this side.
      lost: called with the peer and how, once it is gone or silent.
    """
    jax = socket.socket(socket.AF_UNIX)
    if not leads:
      jax.bind(path)
      jax.listen(1)

    def inward() -> None:
      local = jax if leads else jax.accept()[0]
      while leads and local.connect_ex(path):
        time.sleep(0.02)  # the service has yet to start
      self.socket.settimeout(_SILENCE)
      threading.Thread(target=outward, args=[local], daemon=True).start()
      how = "is lost"
      try:
        while data := self.socket.recv(2**16):
          local.sendall(data)
      except TimeoutError:
        how = f"has not answered for {_SILENCE} s"
      except OSError:
        pass  # an end as well
      self.gone.set()
      lost(self, how)
      threading.Event().wait()  # or `local` would be closed

    def outward(local: socket.socket) -> None:
      with contextlib.suppress(OSError):
        while data := local.recv(2**16):
          self.socket.sendall(data)
        self.socket.shutdown(socket.SHUT_WR)

    threading.Thread(target=inward, daemon=True).start()


def meet(place: Place, run: str, wait: float) -> list[Peer]:
  """Waits until all processes are there.

  Args:
    place: which one this is.
    run: what all processes of this run know, and no others.
    wait: seconds after which it gives up.

  Returns:
    Of process 0: all the others, in order; of the others: process 0.

  Raises:
    Absent: one does not come in time.
    UserError: one is there twice, counts the processes otherwise or is of another run.
  """
  known = hashlib.sha256(f"{run}\n{os.environ.get('ROBUSTJAX_SECRET', '')}".encode())
  own: dict[str, Any] = {"run": known.hexdigest(), "host": socket.gethostname()}
  own |= {"processes": place.processes, "process": place.process}
  until = time.monotonic() + wait
  if place.process == 0:
    return _lead(place, own, until)
  return [_follow(place, own, until)]


def _lead(place: Place, own: dict[str, Any], until: float) -> list[Peer]:
  """Process 0: waits for the others; returns them in order."""
  there: dict[int, Peer] = {}
  reminder = _Reminder(until)
  with _listen(place) as server:
    while missing := [p for p in range(1, place.processes) if p not in there]:
      who, late = _who(missing, place), time.monotonic() >= until
      line = reminder.waiting_for(f"{who} to come to {place.coordinator}")
      error = f"{who} did not come to {place.coordinator} in time"
      error += _remedy(place, missing[0])
      for peer in list(there.values()):
        if late:
          peer.send(error=error, status=LOST)
        elif line:
          peer.send(waiting=line)
        if peer.left():
          there.pop(peer.process).socket.close()
      if late:
        raise Absent(error)
      with contextlib.suppress(OSError):  # nobody calls
        caller, _ = server.accept()
        if threading.active_count() < _THREADS:
          args = caller, own, there
          threading.Thread(target=_admit, args=args, daemon=True).start()
  for peer in there.values():
    peer.send(all=True)
  return [there[p] for p in sorted(there)]


def _admit(caller: socket.socket, own: dict[str, Any], there: dict[int, Peer]) -> None:
  """Hears who calls: a process of this run is there from now on."""
  hello = _receive(caller, _GREETING)
  process, count = hello.get("process"), own["processes"]
  if type(process) is not int:  # somebody else's, or gone already
    return caller.close()
  caller.settimeout(None)
  peer = Peer(process, clean(hello.get("host"))[:80], caller)
  if hello.get("run") != own["run"]:
    wrong = "it is of another run, by --workdir or $ROBUSTJAX_SECRET"
  elif hello.get("processes") != count:
    theirs = clean(hello.get("processes"))[:20]
    wrong = f"it has --processes={theirs}, and process 0 has {count}"
  elif not 0 < process < count:
    wrong = f"--process={process} is not one of 1 to {count - 1}"
  else:
    peer.send(process=0, host=own["host"])  # before anything that `_lead` sends
    if (first := there.setdefault(process, peer)) is peer:
      return
    wrong = f"another process is --process={process} already, on {first.host}"
  peer.send(error=f"process 0 refuses this one: {wrong}", status=MISTAKE)
  caller.close()


def _listen(place: Place) -> socket.socket:
  """Listens at the coordinator's own address, or what it stands for in this network."""
  host, port = place.address()
  try:
    (family, *_, (own, *_)), *_ = socket.getaddrinfo(host, port, proto=socket.SOL_TCP)
    try:
      if own == "127.0.1.1":  # what Debian calls a machine by its name
        raise OSError(errno.EADDRNOTAVAIL, "")
      server = socket.create_server((own, port), family=family)
    except OSError as error:
      if error.errno != errno.EADDRNOTAVAIL:  # of a cloud, which translates it
        raise
      with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        server = socket.create_server((probe.getsockname()[0], port))
  except OSError as error:
    reason = str(error.strerror or error).partition(" (while")[0]
    raise UserError(
      f"port {port} of this machine cannot be used ({reason}): end the other process 0,"
      " or name another one with --coordinator"
    ) from error
  server.settimeout(0.2)
  return server


def _follow(place: Place, own: dict[str, Any], until: float) -> Peer:
  """Another process: finds process 0."""
  reminder, who = _Reminder(until), _who([0], place)
  while True:
    try:
      peer = Peer(0, "", socket.create_connection(place.address(), _GREETING))
      peer.send(**own)
      if _starts(peer):
        return peer
      reason = "what answers there does not wait for processes"
    except OSError as error:
      reason = str(error.strerror or error)
    reminder.waiting_for(f"{who} at {place.coordinator} ({reason})")
    if time.monotonic() >= until:
      where = f"{who} is not at {place.coordinator} ({reason})"
      raise Absent(where + _remedy(place, 0))
    time.sleep(0.5)


def _starts(peer: Peer) -> bool:
  """Waits until process 0 says that all are there; False if it ends before."""
  starts, wait = False, float(_GREETING)
  try:
    while not starts and (answer := _receive(peer.socket, wait)):
      if "error" in answer:
        kind = Absent if answer.get("status") == LOST else UserError
        raise kind(clean(answer["error"]))
      peer.host = clean(answer.get("host", peer.host))[:80]
      wait = 3.0 * _REMIND  # process 0 says something every _REMIND seconds, or hangs
      if "waiting" in answer:
        log.complain(clean(answer["waiting"]))
      starts = "all" in answer
  finally:
    if not starts:
      peer.socket.close()
  return starts


def _receive(connection: socket.socket, wait: float) -> dict[str, Any]:
  """One message and no byte more: what follows may be JAX's. Empty if none comes."""
  until, line = time.monotonic() + wait, b""
  with contextlib.suppress(OSError):
    while not line.endswith(b"\n") and (left := until - time.monotonic()) > 0:
      connection.settimeout(left)
      if not (byte := connection.recv(1)) or len(line) > _LONGEST:
        break
      line += byte
  return parse(line, _LONGEST)


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


def parse(line: str | bytes, longest: int) -> dict[str, Any]:
  """The message in a line; empty where it is none."""
  try:
    message = json.loads(line) if len(line) <= longest else None
  except (ValueError, RecursionError):
    return {}
  return message if isinstance(message, dict) else {}


def clean(text: Any) -> str:
  """What another process said, as one line without control characters."""
  return "".join(x if x.isprintable() else "?" for x in str(text))[:_LONGEST]


def _who(missing: list[int], place: Place) -> str:
  few = ", ".join(map(str, missing[:8])) + (" and more" if len(missing) > 8 else "")
  return f"process{'es' if len(missing) > 1 else ''} {few} of {place.processes}"


def _remedy(place: Place, process: int) -> str:
  return (
    f": start it there with --coordinator={place.coordinator}"
    f" --processes={place.processes} --process={process}, or wait longer with"
    " --wait=SECONDS"
  )
