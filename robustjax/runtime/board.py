"""TensorBoard's events: a side channel, which may fail without stopping a run.

tensorboardX's own writer hands records to a thread, which a full disk kills; the caller
then waits for it for ever. Its parts write here at once.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from robustjax.runtime import log

Record = Mapping[str, Any]  # a line of metrics.jsonl


class Board:
  """The events of one run; after a failure, which is said once, nothing.

  Args:
    folder: where they are.
    step: that the run goes on from; what is there of later ones is void.
    records: of all steps until then: those that are missing are made up for.
  """

  def __init__(self, folder: Path, step: int, records: Iterable[Record]):
    self._writer: Any = None
    with self._aside():
      # Not on top: it imports PyTorch, where that is installed, which takes seconds.
      from tensorboardX.proto import event_pb2
      from tensorboardX.record_writer import RecordWriter

      folder.mkdir(exist_ok=True)
      last = min(max(_steps(folder), default=0), step)
      name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"
      self._writer = RecordWriter(str(folder / name))
      self._event(file_version="brain.Event:2")
      start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
      self._event(step=step + 1, session_log=start)
      for record in records:
        if last < record["step"] <= step:
          self.write(record)

  def write(self, record: Record, speeds: Mapping[str, float] | None = None) -> None:
    """Adds the values of a record, and those that no record has."""
    if self._writer is None:
      return
    names = record.keys() - {"step", "epoch", "split"}
    values = {name: record[name] for name in sorted(names)} | dict(speeds or {})
    with self._aside():
      from tensorboardX import summary

      for name, value in values.items():
        scalar = summary.scalar(f"{record['split']}/{name}", value)
        self._event(step=record["step"], summary=scalar)
      self._writer.flush()

  def close(self) -> None:
    """Ends the file."""
    if self._writer is not None:
      with self._aside():
        self._writer.close()

  def _event(self, **fields: Any) -> None:
    from tensorboardX.proto import event_pb2

    event = event_pb2.Event(wall_time=time.time(), **fields)
    self._writer.write(event.SerializeToString())

  @contextlib.contextmanager
  def _aside(self) -> Iterator[None]:
    try:
      yield
    except Exception as error:  # whatever a disk, a quota or a protocol has against it
      if self._writer is not None:
        with contextlib.suppress(OSError):
          self._writer.close()
      self._writer = None
      reason = " ".join(str(error).split())
      log.complain(
        f"TensorBoard's events cannot be written ({reason}): the run goes on, and the"
        " next start makes up for them"
      )


def _steps(folder: Path) -> Iterator[int]:
  """The steps of all events in a folder, as far as its files can be read."""
  from tensorboardX.proto import event_pb2

  for path in sorted(folder.glob("events*")):
    data, at = path.read_bytes(), 0
    while at + 12 <= len(data):  # a length, its checksum, an event, its checksum
      (length,) = struct.unpack_from("<Q", data, at)
      event = event_pb2.Event()
      try:
        event.ParseFromString(data[at + 12 : at + 12 + length])
      except Exception:  # what a kill or a full disk left
        break
      if event.HasField("summary"):
        yield event.step
      at += length + 16
