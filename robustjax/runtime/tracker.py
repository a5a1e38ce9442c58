"""A tracker: where the records of a run also go.

A side channel, as TensorBoard's events are: it may fail, or never answer, without
stopping a run.
"""

import functools
import json
import queue
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from robustjax.runtime import files, log

STATE = "tracker.json"  # what was sent, in the folder of a run
LIMIT = 120.0  # seconds that a run waits for an answer
Record = Mapping[str, Any]  # a line of metrics.jsonl


class Tracker(Protocol):
  """What a tracker must have; "where", a text for the person, is up to it."""

  def write(self, step: int, values: Mapping[str, float]) -> None:
    """Takes the values of a step, such as {"train/loss": 1.0}; a step may come twice.

    Steps never fall, also where a run goes on.
    """

  def close(self) -> None:
    """Ends this start of the run; another may follow."""


class Tracked:
  """One run's tracker; after a failure, which is said once, nothing.

  A run that goes on repeats records that it had sent, the same ones, and so counts
  them: none is sent twice, and those that a failure took are made up for.

  All calls are from one thread of its own, which ends with the process at the latest.

  Args:
    name: of the tracker, for messages.
    start: makes it, called with `id`: a name for the run, which stays when it goes on.
    folder: of the run.
    records: those that it has, in their order; none of a run that begins.
  """

  def __init__(
    self,
    name: str,
    start: Callable[..., Tracker],
    folder: Path,
    records: Sequence[Record],
  ):
    self._name, self._at = name, 0
    self._tracker: Tracker | None = None
    self._calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_serve, args=(self._calls,), daemon=True).start()
    self._path = folder / STATE
    self._state = _read(self._path)
    if not records or self._state.get("tracker") != name:
      self._state = {"tracker": name, "id": secrets.token_hex(8), "sent": 0}
    self._tracker = self._asked(functools.partial(start, id=self._state["id"]))
    for record in records:
      self.write(record)

  @property
  def where(self) -> str:
    """Where to look, in the tracker's words."""
    return str(getattr(self._tracker, "where", ""))

  def write(self, record: Record, speeds: Mapping[str, float] | None = None) -> None:
    """Sends a record, and values that no record has."""
    self._at += 1
    if self._tracker is None or self._at <= self._state["sent"]:
      return
    named = {k: v for k, v in record.items() if k not in ("step", "epoch", "split")}
    values = {
      f"{record['split']}/{k}": v for k, v in (named | {**(speeds or {})}).items()
    }
    values["epoch"] = record["epoch"]
    self._asked(self._send, self._tracker, record["step"], values, self._at)

  def close(self) -> None:
    """Ends it."""
    if self._tracker is not None:
      self._asked(self._tracker.close)
    self._tracker = None
    self._calls.put(None)

  def _send(
    self, tracker: Tracker, step: int, values: Mapping[str, float], at: int
  ) -> None:
    tracker.write(step, values)
    self._state["sent"] = at
    files.write_bytes(self._path, json.dumps(self._state).encode())

  def _asked(self, call: Callable[..., Any], *given: Any) -> Any:
    """What a call returns; None, and no tracker any more, if it fails or hangs."""
    answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
    self._calls.put((call, given, answer))
    try:
      returned, error = answer.get(timeout=LIMIT)
    except queue.Empty:
      returned, error = None, TimeoutError(f"no answer in {LIMIT:g} s")
    if error:
      self._tracker = None
      reason = " ".join(str(error).split()) or type(error).__name__
      log.complain(
        f"the tracker {self._name} cannot be written to ({reason[:200]}): the run goes"
        " on, and the next start makes up for it"
      )
    return returned


def _serve(calls: "queue.SimpleQueue[Any]") -> None:
  """Makes the calls, one after another, until there is a None."""
  while (asked := calls.get()) is not None:
    call, given, answer = asked
    try:
      answer.put((call(*given), None))
    except BaseException as error:  # whatever a network or somebody's code raises
      answer.put((None, error))


def _read(path: Path) -> dict[str, Any]:
  """What was sent until now, as far as the file can be read."""
  try:
    found = json.loads(path.read_bytes())
    assert isinstance(found["sent"], int) and isinstance(found["id"], str)
    return dict(found)
  except (OSError, ValueError, KeyError, TypeError, AssertionError):
    return {}
