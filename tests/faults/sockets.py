"""Strangers at the port where two processes meet."""

import contextlib
import functools
import json
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from . import kills, runs
from .table import Result

_CROWD = 50


def drips(address: tuple[str, int]) -> None:
  """A byte a second, for ever."""
  with _connected(address) as one:
    while True:
      one.send(b"{")
      time.sleep(1)


def says_nothing(address: tuple[str, int]) -> None:
  """Many connections, each half open."""
  crowd = []
  for _ in range(_CROWD):
    with contextlib.suppress(OSError):
      crowd.append(socket.create_connection(address, 5))
  time.sleep(runs.SECONDS)


def nests(address: tuple[str, int]) -> None:
  """JSON that is as deep as it is long."""
  with _connected(address) as one:
    one.sendall(b"[" * 500_000 + b"\n")
    time.sleep(5)


def lies(address: tuple[str, int]) -> None:
  """A stranger who says that he is process 1, under a name that moves the cursor."""
  hello = {"process": 1, "processes": 2, "host": "\x1b[2J\x07evil", "facts": {}}
  with _connected(address) as one:
    one.sendall(json.dumps(hello).encode() + b"\n")
    time.sleep(5)


def floods(address: tuple[str, int]) -> None:
  """Noise without an end."""
  with _connected(address) as one:
    while True:
      one.sendall(os.urandom(2**16))


KINDS = (drips, says_nothing, nests, lies, floods)


def cases(folder: Path, short: bool) -> dict[str, kills.Case]:
  """Runs of two processes, of which one comes 4 s after a stranger."""
  kinds = () if short else KINDS
  return {kind.__name__: functools.partial(meeting, folder, kind) for kind in kinds}


def meeting(
  folder: Path, kind: Callable[..., None], rng: random.Random
) -> Iterator[Result]:
  """A meeting with a stranger of one kind."""
  whole, _ = kills.whole(folder, 2)
  workdir, port = folder / f"meeting-{kind.__name__}", runs.port()
  runs.gone(workdir)
  log = folder / "stranger.log"
  stranger = runs.Start([], [log], time.monotonic())
  stranger.pids.append(runs.forked(lambda: kind(("127.0.0.1", port)), log))
  started = runs.start(workdir, 2, meet=port, late=4.0)
  wrong = runs.ended_well(started, workdir, whole)
  stranger.kill()
  stranger.end()
  if not wrong and ("Traceback" in started.said() or "\x1b[2J" in started.said()):
    wrong = f"it says: {started.said()[-300:]}"
  fault = f"a stranger at the port: {kind.__name__.replace('_', ' ')}"
  yield Result(fault, "survived", started.seconds(), wrong=wrong)


def _connected(address: tuple[str, int]) -> socket.socket:
  until = time.monotonic() + 30
  while True:
    try:
      return socket.create_connection(address, 5)
    except OSError:
      if time.monotonic() > until:
        raise
      time.sleep(0.05)
