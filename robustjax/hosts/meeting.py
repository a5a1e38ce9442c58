"""Where the processes of a run meet, before JAX connects them.

What JAX's coordination service cannot do, tried with jax 0.10: say who is waited for
(its store serves nobody before all are there, and who waits too long is aborted with a
C++ stack), and ask who comes (it listens everywhere, and trusts whoever connects).

So process 0 listens itself, at the coordinator's own address, until all are there. Who
does not know the run, its --workdir and $ROBUSTJAX_SECRET, is turned away. Nothing is
encrypted: whoever reads the network learns the digest of both.
"""

import contextlib
import functools
import hashlib
import json
import os
import queue
import socket
import threading
import time
from importlib.metadata import version
from typing import Any

from robustjax.errors import MISTAKE, UserError
from robustjax.hosts.cluster import Member
from robustjax.hosts.messages import clean, parse
from robustjax.runtime import log

LOST = 1  # exit status: the same command may do

_GREETING = 5  # seconds for one line from a process that has just connected
_FIRST, _REMIND = 1, 10  # seconds to a line about who is waited for, and between two
_LONGEST = 4096  # bytes of a line
_THREADS = 200  # of this process, most of them for callers


class Absent(UserError):
  """A process is late or gone; the next time it may come: the exit status is LOST."""


class Peer:
  """Another process: its number, its name, the connection, and whether it is gone."""

  def __init__(self, process: int, name: str, connection: socket.socket):
    self.process, self.name, self.socket = process, name, connection
    # A host that is gone without a word is one that does not take what is sent.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 45_000)
    self.gone = threading.Event()

  def send(self, **message: Any) -> None:
    """Sends a line, if the process is still there."""
    with contextlib.suppress(OSError):  # its end is noticed where it is read
      self.socket.sendall(json.dumps(message).encode() + b"\n")

  def left(self) -> bool:
    """Whether it has ended before the start, until when it has nothing to say."""
    try:
      return self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) is not None
    except OSError as error:
      return not isinstance(error, BlockingIOError)


def meet(member: Member, run: str, wait: float) -> list[Peer]:
  """Waits until all processes are there.

  Args:
    member: which one this is.
    run: what all processes of this run know, and no others.
    wait: seconds after which it gives up.

  Returns:
    Of process 0: all the others, in order; of the others: process 0.

  Raises:
    Absent: one does not come in time.
    UserError: one is there twice, counts the processes otherwise or is of another run.
  """
  known = hashlib.sha256(f"{run}\n{os.environ.get('ROBUSTJAX_SECRET', '')}".encode())
  jax = ", ".join(f"{name} {version(name)}" for name in ("jax", "jaxlib"))
  own = {
    "run": known.hexdigest(),
    **member._asdict(),
    "name": member.name(),
    "jax": jax,
  }
  until = time.monotonic() + wait
  if member.process == 0:
    return _lead(member, own, until)
  return [_follow(member, own, until)]


def _lead(member: Member, own: dict[str, Any], until: float) -> list[Peer]:
  """Process 0: waits for the others; returns them in order."""
  there: dict[int, Peer] = {}
  calls: queue.Queue[tuple[socket.socket, dict[str, Any]]] = queue.Queue()
  due = time.monotonic() + _FIRST  # usually all come at once
  with _listen(member) as server:
    while missing := [p for p in range(1, member.processes) if p not in there]:
      who, late = _who(missing, member), time.monotonic() >= until
      line, due = _remind(f"{who} to come to {member.coordinator}", until, due)
      error = f"{who} did not come to {member.coordinator} in time"
      error += _remedy(member, missing[0])
      heard = [calls.get() for _ in range(calls.qsize())]
      for peer in list(there.values()):
        if late:
          peer.send(error=error, status=LOST)
        elif line:
          peer.send(waiting=line)
        if late or peer.left():
          there.pop(peer.process).socket.close()
      if late:
        raise Absent(error)
      for caller, hello in heard:  # of whom some may have left and come back
        _admit(caller, hello, own, there)
      with contextlib.suppress(OSError):  # nobody calls
        caller, _ = server.accept()
        if threading.active_count() < _THREADS:
          threading.Thread(target=_hear, args=[caller, calls], daemon=True).start()
        else:  # it may call again
          caller.close()
  for peer in there.values():
    peer.send(all=True)
  return [there[p] for p in sorted(there)]


def _hear(caller: socket.socket, calls: queue.Queue[Any]) -> None:
  """Hears who calls; a thread for each, since some say nothing, or a byte a second."""
  if hello := _receive(caller, _GREETING):
    calls.put((caller, hello))
  else:
    caller.close()


def _admit(
  caller: socket.socket, hello: Any, own: dict[str, Any], there: dict[int, Peer]
) -> None:
  """A process of this run is there from now on; anyone else is told why not."""
  process, count = hello.get("process"), own["processes"]
  caller.settimeout(None)
  peer = Peer(process, clean(hello.get("name"))[:99], caller)
  if hello.get("run") != own["run"]:
    wrong = "it is of another run, by --workdir or $ROBUSTJAX_SECRET"
  elif hello.get("processes") != count:
    theirs = clean(hello.get("processes"))[:20]
    wrong = f"it has --processes={theirs}, and process 0 has {count}"
  elif type(process) is not int or not 0 < process < count:
    wrong = f"its --process is not one of 1 to {count - 1}"
  elif process in there:
    other = there[process].name
    wrong = f"another process is --process={process} already: {other}"
  elif (theirs := clean(hello.get("jax"))[:99]) != own["jax"]:
    wrong = f"it has {theirs}, and process 0 has {own['jax']}"
  else:
    there[process] = peer
    return peer.send(name=own["name"])
  _warn_of(f"turned away {peer.name}: {wrong}")
  peer.send(error=f"process 0 refuses this one: {wrong}", status=MISTAKE)
  caller.close()


_warn_of = functools.lru_cache(maxsize=8)(log.complain)  # who comes again is known


def _listen(member: Member) -> socket.socket:
  try:
    host, port = member.address()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.create_server((host, port), family=family)
  except OSError as error:
    reason = str(error.strerror).partition(" (while")[0]
    raise UserError(
      f"process 0 cannot listen at {member.coordinator} ({reason}): end the other"
      " process 0, or name an address and a port of this machine with --coordinator"
    ) from error
  server.settimeout(0.2)
  return server


def _follow(member: Member, own: dict[str, Any], until: float) -> Peer:
  """Another process: finds process 0."""
  due, who = time.monotonic() + _FIRST, _who([0], member)
  while True:
    try:
      peer = Peer(0, "", socket.create_connection(member.address(), _GREETING))
      peer.send(**own)
      if _starts(peer):
        return peer
      reason = "what answers there does not wait for processes"
    except OSError as error:
      reason = str(error.strerror or error)
    where = f"at {member.coordinator} ({reason})"
    _, due = _remind(f"{who} {where}", until, due)
    if time.monotonic() >= until:
      raise Absent(f"{who} is not {where}{_remedy(member, 0)}")
    time.sleep(0.5)


def _starts(peer: Peer) -> bool:
  """Waits until process 0 says that all are there; False if it ends before."""
  wait = float(_GREETING)
  while answer := _receive(peer.socket, wait):
    if "all" in answer:
      return True
    if "error" in answer:
      peer.socket.close()
      kind = Absent if answer.get("status") == LOST else UserError
      raise kind(clean(answer["error"]))
    if "waiting" in answer:
      log.complain(clean(answer["waiting"]))
    peer.name = clean(answer.get("name", peer.name))[:99]
    wait = 3.0 * _REMIND  # process 0 says something every _REMIND seconds, or hangs
  peer.socket.close()
  return False


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


def _remind(whom: str, until: float, due: float) -> tuple[str, float]:
  """Says now and then who is waited for; returns the line, and when one is due."""
  if (now := time.monotonic()) < due:
    return "", due
  line = f"waiting for {whom}; gives up in {max(0, round(until - now))} s"
  log.complain(line)
  return line, now + _REMIND


def _who(missing: list[int], member: Member) -> str:
  few = ", ".join(map(str, missing[:8])) + (" and more" if len(missing) > 8 else "")
  return f"process{'es' if len(missing) > 1 else ''} {few} of {member.processes}"


def _remedy(member: Member, process: int) -> str:
  return (
    f": start it there with --coordinator={member.coordinator}"
    f" --processes={member.processes} --process={process}, or wait longer with"
    " --wait=SECONDS"
  )
