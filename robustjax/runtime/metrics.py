"""The records of a run: metrics.jsonl, the same for TensorBoard and for a tracker."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from robustjax.errors import UserError
from robustjax.runtime import board, files, log
from robustjax.runtime import tracker as trackers

METRICS, BOARD = "metrics.jsonl", "tensorboard"
_MOST = 2**33  # bytes of all records: any number that a run can have


class MetricsLog:
  """metrics.jsonl and TensorBoard events of one run.

  metrics.jsonl holds what the run's configuration determines and nothing else, so that
  an interrupted run leaves the same bytes as an uninterrupted one. Speeds go to
  TensorBoard.

  Args:
    workdir: where the files are.
    step: the step that the run goes on from; records after it are dropped, since the
      run will write them again. A file with lines that are no records is kept beside.
    writes: False on all processes but one.
    known: the digest of the records until the step; "" if it is not known.
    tracker: the name of a tracker and what starts it, see `tracker.Tracked`.
  """

  def __init__(
    self,
    workdir: Path,
    step: int,
    writes: bool = True,
    known: str = "",
    tracker: tuple[str, Callable[..., trackers.Tracker]] | None = None,
  ):
    self._writes, self._sha256 = writes, hashlib.sha256()
    if not writes:
      return
    path = self._path = workdir / METRICS
    records, bad = _records(path)
    kept = [record for record in records if record["step"] <= step]
    text = "".join(json.dumps(record) + "\n" for record in kept).encode()
    self._sha256.update(text)
    what = ""
    if bad:
      lines = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
      what = f"line {lines} is no record and is lost"
    elif known not in ("", self.digest()):
      what = f"its records until step {step} are not what was written, or not all"
    if what:
      aside = files.set_aside(path).name if path.exists() else "gone"
      log.complain(f"{path}: {what}; the file as it was is {aside}")
    files.write_bytes(path, text)
    self._file = path.open("a")
    self._board = board.Board(workdir / BOARD, step, kept)
    self._tracker = trackers.Tracked(*tracker, workdir, kept) if tracker else None
    if self._tracker and self._tracker.where:
      log.say(f"Tracked: {self._tracker.where}")

  def write(
    self,
    step: int,
    epoch: float,
    split: str,
    values: Mapping[str, float],
    speeds: Mapping[str, float] | None = None,
  ) -> None:
    """Adds one record.

    Args:
      step: how many steps have been taken.
      epoch: the same in epochs.
      split: "train", "validation" or "test".
      values: name -> number.
      speeds: name -> number of how fast it went, for TensorBoard and the tracker alone.
    """
    if not self._writes:
      return
    record = {"step": step, "epoch": round(epoch, 4), "split": split, **values}
    line = json.dumps(record) + "\n"
    self._sha256.update(line.encode())
    self._file.write(line)
    self._file.flush()
    self._board.write(record, speeds)
    if self._tracker:
      self._tracker.write(record, speeds)

  def sync(self) -> None:
    """Puts the records on the disk, where they outlive this machine.

    Raises:
      UserError: the file is no more where it was: nothing else would be found there.
    """
    if not self._writes:
      return
    os.fsync(self._file.fileno())
    own, path = os.fstat(self._file.fileno()), self._path
    if not (path.exists() and os.path.samestat(own, path.stat())):
      raise UserError(
        f"{path} was moved or removed while the run was at work: put {path.parent}"
        " back, and start again"
      )

  def digest(self) -> str:
    """Of all records: a checkpoint says what they were."""
    return self._sha256.hexdigest()

  def close(self) -> None:
    """Flushes what is written."""
    if self._writes:
      self._board.close()
      if self._tracker:
        self._tracker.close()
      self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
  """The records of a metrics.jsonl, without lines that are none."""
  return _records(path)[0]


def _records(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
  """The records, and the numbers of the lines that are none.

  A last line without an end, which a kill cut short, is neither.
  """
  records: list[dict[str, Any]] = []
  bad = []
  text = files.content(path, _MOST) if path.exists() else b""
  for number, line in enumerate(text.splitlines(keepends=True), 1):
    try:
      record = json.loads(line)
      if not (type(record["step"]) is int and isinstance(record["split"], str)):
        raise ValueError
      records.append(record)
    except (ValueError, TypeError, KeyError, RecursionError):
      if line.endswith(b"\n"):
        bad.append(number)
  return records, bad
