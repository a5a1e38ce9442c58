"""Processes that measure in turn, and the pipe over which they are asked to.

A process says once what it is able to time, as a line of JSON. For each name that it is
sent then, it times that form once and answers with seconds.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

Forms = Mapping[str, Callable[[], Any]]

_LEAST = 0.5  # seconds that a timing takes, or nearly: shorter calls are repeated
_MOST = 200  # calls


def timed(form: Callable[[], Any], calls: int) -> float:
  """Seconds of a call, as the mean of several, or as the last one says itself."""
  start = time.perf_counter()
  for _ in range(calls):
    said = form()
  taken = (time.perf_counter() - start) / calls
  return said if isinstance(said, float) else taken


def serve(prepare: Callable[[], tuple[Forms, Mapping[str, Any]]]) -> None:
  """Answers until the pipe is closed.

  Args:
    prepare: makes what is timed, by name, each to return once its result is there, or
      with the seconds to count; and what else is to be known.
  """
  replies = os.fdopen(os.dup(1), "w", buffering=1)
  os.dup2(2, 1)  # whatever a library prints is no reply
  forms, facts = prepare()
  calls = {}
  for name, form in forms.items():
    form()  # compiles
    calls[name] = min(_MOST, max(1, round(_LEAST / timed(form, 1))))
  print(json.dumps({"forms": list(forms), **facts}), file=replies)
  for line in sys.stdin:
    print(timed(forms[line.strip()], calls[line.strip()]), file=replies)


class Process:
  """A process that serves; from `process`.

  Attributes:
    facts: what it said of itself.
  """

  def __init__(self, named: str, running: "subprocess.Popen[str]", errors: IO[str]):
    self._named, self._running, self._errors = named, running, errors
    self.facts: dict[str, Any] = json.loads(self._reply())

  def time(self, form: str) -> float:
    """Seconds that one call of a form takes now."""
    assert self._running.stdin is not None
    print(form, file=self._running.stdin, flush=True)
    return float(self._reply())

  def _reply(self) -> str:
    assert self._running.stdout is not None
    if line := self._running.stdout.readline():
      return line
    self._running.wait()
    self._errors.seek(0)
    tail = "".join(self._errors.readlines()[-12:])
    raise SystemExit(f"{tail}error: {self._named} ended early")


@contextlib.contextmanager
def process(*module: str) -> Iterator[Process]:
  """Starts a module of this folder with its arguments; it ends with the context.

  Raises:
    SystemExit: it ended early; with its last lines.
  """
  with (
    tempfile.TemporaryFile("w+") as errors,
    subprocess.Popen(
      [sys.executable, "-m", *module],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=errors,
      text=True,
    ) as running,
  ):
    yield Process(" ".join(module), running, errors)


def rounds(
  processes: Sequence[Process], count: int, after: Callable[[], None]
) -> dict[str, list[float]]:
  """Times all forms of all processes in turn, several times.

  Args:
    processes: whose forms have names of their own.
    count: how often.
    after: called after each timing.

  Returns:
    Form -> seconds, one a round.
  """
  order = [(p, form) for p in processes for form in p.facts["forms"]]
  seconds: dict[str, list[float]] = {form: [] for _, form in order}
  for _ in range(count):
    for process, form in order:
      seconds[form].append(process.time(form))
      after()
  return seconds
