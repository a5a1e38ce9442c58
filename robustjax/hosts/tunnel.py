"""JAX's connection between two processes, through the one over which they met.

JAX's clients abort within 10 ms of the death of process 0, with a C++ stack; a Python
callback in place of that aborts as well (std::bad_cast in jax 0.10). Here the link
stays open towards JAX where the other end is lost: there is time for a line. And JAX's
service, which trusts whoever connects, is at a Unix socket out of other users' reach.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable

from robustjax.hosts.peer import Peer


def dig(
  peer: Peer,
  path: str,
  leads: bool,
  silence: Callable[[bool], float],
  lost: Callable[[Peer, str], None],
) -> None:
  """Makes the connection to a peer JAX's; two threads do the work.

  Args:
    peer: the other process.
    path: the Unix socket where JAX's service listens, or its client looks for it.
    leads: whether the service is on this side.
    silence: how many seconds the other end may say nothing, by whether it has spoken.
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
    threading.Thread(target=outward, args=[local], daemon=True).start()
    how, seconds = "is lost", silence(False)
    try:
      peer.socket.settimeout(seconds)
      while data := peer.socket.recv(2**16):
        local.sendall(data)
        peer.socket.settimeout(seconds := silence(True))
    except TimeoutError:
      how = f"has not answered for {seconds:g} s"
    except OSError:
      pass  # an end as well
    peer.gone.set()
    lost(peer, how)
    # All are done. The service waits for its connections' end; a client would abort.
    if leads:
      local.shutdown(socket.SHUT_WR)
    threading.Event().wait()

  def outward(local: socket.socket) -> None:
    with contextlib.suppress(OSError):
      while data := local.recv(2**16):
        peer.socket.sendall(data)
      peer.socket.shutdown(socket.SHUT_WR)

  threading.Thread(target=inward, daemon=True).start()
