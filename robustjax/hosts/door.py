"""Where process 0 listens: nobody who calls keeps another one waiting."""

import errno
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

from robustjax.errors import UserError
from robustjax.hosts.cluster import Member
from robustjax.hosts.peer import Peer, Stranger
from robustjax.runtime import log

_GREETING = 5  # seconds for who has connected to say who it is
_CALLERS = 200  # that have yet to; of more the first are cut off, and may call again
_TURN = 0.2  # seconds instead of _GREETING where no more files can be open
_LINES = 8  # about strangers, who may be many


class Door:
  """Listens at the coordinator's addresses until it is closed.

  Args:
    member: process 0.
    secret: what all processes of the run know.

  Raises:
    UserError: the address is another machine's, or in use.
  """

  def __init__(self, member: Member, secret: bytes):
    self._secret, self._servers = secret, _listen(member)
    self._callers: list[tuple[float, Peer]] = []  # until when each may say who it is
    self._told: set[str] = set()

  def close(self) -> None:
    """Closes all but the connections to those who were let in."""
    for there in (*self._servers, *(peer.socket for _, peer in self._callers)):
      there.close()

  def greeted(self, wait: float) -> Iterator[tuple[Peer, dict[str, Any]]]:
    """Who has proved to know the secret by now, and what each said.

    Raises:
      UserError: there can be no more connections.
    """
    # Who is in the middle of its greeting needs no more than one way to and fro.
    wait = 0.02 if self._callers else wait
    for server in select.select(self._servers, [], [], wait)[0]:
      for _ in range(_CALLERS // 4):  # all of whom are heard below
        if not self._accept(server):
          break
    while self._callers and self._callers[0][0] < time.monotonic():
      self._callers.pop(0)[1].socket.close()
    for caller in list(self._callers):
      try:
        if hello := caller[1].receive():
          self._callers.remove(caller)
          yield caller[1], hello
      except OSError as error:
        self._callers.remove(caller)
        self.turn_away(caller[1], str(error) if isinstance(error, Stranger) else "")

  def turn_away(self, peer: Peer, why: str) -> None:
    """Closes a connection, and says so, but once and not for ever."""
    peer.socket.close()
    line = f"turned away {peer.name}: {why}"
    if why and len(self._told) < _LINES and line not in self._told:
      self._told.add(line)
      log.complain(line)

  def _accept(self, server: socket.socket) -> bool:
    """Whether somebody has called, and somebody else may."""
    try:
      connection, (address, *_) = server.accept()
    except OSError as error:
      if error.errno in (errno.EMFILE, errno.ENFILE):
        if not self._callers:
          raise UserError(
            f"process 0 has no connection left ({error.strerror}): raise `ulimit -n`"
          ) from error
        soon = time.monotonic() + _TURN
        self._callers = [(min(until, soon), peer) for until, peer in self._callers]
        time.sleep(0.02)  # somebody calls all the time
      return False
    try:
      peer = Peer(connection, self._secret, True, address)
    except OSError:  # it has gone
      connection.close()
      return True
    if len(self._callers) == _CALLERS:
      self._callers.pop(0)[1].socket.close()
    self._callers.append((time.monotonic() + _GREETING, peer))
    return True


def _listen(member: Member) -> list[socket.socket]:
  servers, reason = [], OSError("it has no address")
  try:
    for host, port in member.addresses():
      family = socket.AF_INET6 if ":" in host else socket.AF_INET
      try:
        servers.append(socket.create_server((host, port), family=family))
        servers[-1].setblocking(False)
      except OSError as error:
        reason = error  # of a name, another address may be this machine's
        if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
          raise
    if servers:
      return servers
    raise reason
  except OSError as error:
    for server in servers:
      server.close()
    why = str(error.strerror).partition(" (while")[0]
    raise UserError(
      f"process 0 cannot listen at {member.coordinator} ({why}): end the other"
      " process 0, or name an address and a port of this machine with --coordinator"
    ) from error
