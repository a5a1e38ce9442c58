"""Where the processes of a run meet, before JAX connects them.

What JAX's coordination service cannot do, tried with jax 0.10: say who is waited for
(its store serves nobody before all are there, and who waits too long is aborted with a
C++ stack), and ask who comes (it listens everywhere, and trusts whoever connects).

So process 0 listens itself, at the coordinator's own addresses, until all are there,
and turns away who does not prove to know the run's secret. Nothing is encrypted: who
can change what is on the network can still harm a run once all are there.
"""

import contextlib
import socket
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from robustjax.errors import MISTAKE, UserError
from robustjax.hosts import secret
from robustjax.hosts.cluster import Member
from robustjax.hosts.door import Door
from robustjax.hosts.messages import clean
from robustjax.hosts.peer import Peer, Stranger
from robustjax.runtime import log

LOST = 1  # exit status: the same command may do

_GREETING = 5  # seconds for a connection, and for a line that should come at once
_FIRST, _REMIND = 1, 10  # seconds to a line about who is waited for, and between two


class Absent(UserError):
  """A process is late or gone; the next time it may come: the exit status is LOST."""


def meet(member: Member, folder: Path, wait: float) -> list[Peer]:
  """Waits until all processes are there.

  Args:
    member: which one this is.
    folder: the same one for all processes of this run; their secret is in it.
    wait: seconds after which it gives up.

  Returns:
    Of process 0: all the others, in order; of the others: process 0.

  Raises:
    Absent: one does not come in time, or not from this run.
    UserError: one is there twice or counts the processes otherwise, or the folder
      cannot be used.
  """
  jax = ", ".join(f"{name} {version(name)}" for name in ("jax", "jaxlib"))
  own = {**member._asdict(), "name": member.name(), "jax": jax}
  until = time.monotonic() + wait
  if member.process > 0:
    return [_follow(member, own, folder, until)]
  with secret.made(folder) as word, contextlib.closing(Door(member, word)) as door:
    return _lead(member, own, door, until)


def _lead(member: Member, own: dict[str, Any], door: Door, until: float) -> list[Peer]:
  """Process 0: waits for the others; returns them in order."""
  there: dict[int, Peer] = {}
  due = time.monotonic() + _FIRST  # usually all come at once
  while missing := [p for p in range(1, member.processes) if p not in there]:
    who, late = _who(missing, member), time.monotonic() >= until
    line, due = _remind(f"{who} to come to {member.coordinator}", until, due)
    error = f"{who} did not come to {member.coordinator} in time"
    error += _remedy(member, missing[0])
    for peer in list(there.values()):
      if late:
        peer.send(error=error, status=LOST)
      elif line:
        peer.send(waiting=line)
      if late or peer.left():
        there.pop(peer.process).socket.close()
    if late:
      raise Absent(error)
    for caller, hello in door.greeted(0.2):  # some may have left and come back
      _admit(caller, hello, own, there, door)
  for peer in there.values():
    peer.send(all=True)
    peer.socket.settimeout(None)  # from now on it is the tunnel's
  return [there[p] for p in sorted(there)]


def _admit(
  peer: Peer, hello: Any, own: dict[str, Any], there: dict[int, Peer], door: Door
) -> None:
  """A process of this run is there from now on; anyone else is told why not."""
  process, count = hello.get("process"), own["processes"]
  peer.name = clean(hello.get("name"))[:99]
  if hello.get("processes") != count:
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
    peer.process = process
    there[process] = peer
    return peer.send(name=own["name"])
  peer.send(error=f"process 0 refuses this one: {wrong}", status=MISTAKE)
  door.turn_away(peer, wrong)


def _follow(member: Member, own: dict[str, Any], folder: Path, until: float) -> Peer:
  """Another process: finds process 0."""
  due, who = time.monotonic() + _FIRST, _who([0], member)
  while True:
    reason = f"it has yet to write {folder / secret.FILE}, which every host must see"
    try:
      if word := secret.known(folder):
        for address in member.addresses():
          peer, reason = _call(address, word, own)
          if peer:
            return peer
          if time.monotonic() >= until:
            break
    except OSError as error:  # nobody knows the host
      reason = str(error.strerror or error)
    where = f"at {member.coordinator} ({reason})"
    _, due = _remind(f"{who} {where}", until, due)
    if time.monotonic() >= until:
      raise Absent(f"{who} is not {where}{_remedy(member, 0)}")
    time.sleep(0.2)


def _call(
  address: tuple[str, int], word: bytes, own: dict[str, Any]
) -> tuple[Peer | None, str]:
  """Process 0, once it has said that all are there; or why it has not."""
  reason = "what answers there is not of this run, by --workdir or $ROBUSTJAX_SECRET"
  with contextlib.ExitStack() as otherwise:
    try:
      connection = otherwise.enter_context(socket.create_connection(address, _GREETING))
      peer = Peer(connection, word, False)
      if peer.receive(_GREETING) is not None:  # its nonce
        peer.send(**own)
        if _starts(peer):
          otherwise.pop_all()
          connection.settimeout(None)
          return peer, ""
    except Stranger:
      pass
    except OSError as error:
      reason = error.strerror or reason
  return None, reason


def _starts(peer: Peer) -> bool:
  """Waits until process 0 says that all are there; False if it is silent before."""
  wait = float(_GREETING)
  while answer := peer.receive(wait):
    if "all" in answer:
      return True
    if "error" in answer:
      kind = Absent if answer.get("status") == LOST else UserError
      raise kind(clean(answer["error"]))
    if "waiting" in answer:
      log.complain(clean(answer["waiting"]))
    peer.name = clean(answer.get("name", peer.name))[:99]
    wait = 3.0 * _REMIND  # process 0 says something every _REMIND seconds, or hangs
  return False


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
