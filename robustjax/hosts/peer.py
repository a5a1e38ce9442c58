"""Another process at the other end of a connection, which proves that it is one."""

import contextlib
import hmac
import json
import secrets
import socket
import threading
import time
from typing import Any

from robustjax.hosts.messages import parse

_LONGEST = 4096  # bytes of a line
_SEND = 5  # seconds for one line
_HELLO = b"robustjax "
_NONCE = 32  # characters


class Stranger(OSError):
  """What is at the other end does not know the secret."""


class Peer:
  """Another process: its number, its name, the connection, and whether it is gone.

  Each side first says a nonce, and seals all that follows: with an HMAC by the secret
  and both nonces, over who speaks, how many lines came before, and the line. So the
  secret stays here; nothing can be said again, changed, or said back to who said it;
  and what is not sealed is not even parsed. Anyone on the way can read it.

  Args:
    connection: to the other process.
    secret: what all processes of the run know.
    leads: whether this process is process 0.
    name: of the other one, as long as it has not said it.

  Raises:
    OSError: the connection has ended.
  """

  def __init__(
    self, connection: socket.socket, secret: bytes, leads: bool, name: str = ""
  ):
    self.process, self.name, self.socket = 0, name, connection
    self.gone = threading.Event()
    self._secret, self._leads, self._key, self._line = secret, leads, b"", b""
    self._counts = {True: 0, False: 0}  # sealed lines, by whether process 0 said them
    self._nonce = secrets.token_hex(_NONCE // 2).encode()
    # A host that is gone without a word is one that does not take what is sent.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 45_000)
    connection.settimeout(_SEND)
    connection.sendall(_HELLO + self._nonce + b"\n")

  def send(self, **message: Any) -> None:
    """Sends a sealed line, if the process is still there."""
    body = json.dumps(message).encode()
    with contextlib.suppress(OSError):  # its end is noticed where it is read
      self.socket.settimeout(_SEND)
      self.socket.sendall(self._seal(self._leads, body) + b" " + body + b"\n")

  def receive(self, wait: float = 0) -> dict[str, Any] | None:
    """The next line, and no byte more: what follows may be JAX's.

    Args:
      wait: seconds for the whole line; what has come of it is kept for the next call.

    Returns:
      What it says, nothing if it is the nonce; None if it does not come in time.

    Raises:
      Stranger: it is too long, or not sealed.
      OSError: the connection has ended.
    """
    until = time.monotonic() + wait
    try:
      while not self._line.endswith(b"\n"):
        self.socket.settimeout(max(0.0, until - time.monotonic()))
        there = self.socket.recv(_LONGEST, socket.MSG_PEEK)
        self._line += self.socket.recv(there.find(b"\n") + 1 or len(there) or 1)
        if not there:
          raise ConnectionResetError("it has ended")
        if len(self._line) > _LONGEST:
          raise Stranger("it says too much")
    except (TimeoutError, BlockingIOError):
      return None
    line, self._line = self._line[:-1], b""
    if not self._key:
      return self._greeted(line)
    seal, _, body = line.partition(b" ")
    if not hmac.compare_digest(seal, self._seal(not self._leads, body)):
      raise Stranger("it does not know the secret")
    return parse(body, _LONGEST)

  def left(self) -> bool:
    """Whether it has ended before the start, until when it has nothing to say."""
    try:
      self.socket.settimeout(0)
      return self.socket.recv(1, socket.MSG_PEEK) is not None
    except OSError as error:
      return not isinstance(error, BlockingIOError)

  def _greeted(self, line: bytes) -> dict[str, Any]:
    other = line.removeprefix(_HELLO)
    if len(line) != len(_HELLO) + _NONCE or len(other) != _NONCE:
      raise Stranger("it is no process of robustjax")
    both = self._nonce + other if self._leads else other + self._nonce
    self._key = hmac.digest(self._secret, both, "sha256")
    return {}

  def _seal(self, by_first: bool, body: bytes) -> bytes:
    self._counts[by_first] += 1
    said = b"%d %d " % (by_first, self._counts[by_first])
    return hmac.digest(self._key, said + body, "sha256").hex().encode()
