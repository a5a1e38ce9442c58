"""What a run writes down: metrics.jsonl, TensorBoard, and lines for the person."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import tensorboardX
import tqdm

from robustjax.errors import UserError

METRICS = "metrics.jsonl"


class MetricsLog:
  """metrics.jsonl and TensorBoard events of one run.

  metrics.jsonl holds what the run's configuration determines and nothing else, so that
  an interrupted run leaves the same bytes as an uninterrupted one. Speeds go to
  TensorBoard.

  Args:
    workdir: where the files are.
    step: the step that the run goes on from; records after it are dropped, since the
      run will write them again.
    writes: False on all processes but one.
  """

  def __init__(self, workdir: Path, step: int, writes: bool = True):
    self._writes = writes
    if not writes:
      return
    path = workdir / METRICS
    kept = [r for r in read_metrics(path) if r["step"] <= step] if path.exists() else []
    write_atomically(path, "".join(json.dumps(r) + "\n" for r in kept))
    self._file = path.open("a")
    self._board = tensorboardX.SummaryWriter(
      str(workdir / "tensorboard"), purge_step=step + 1, write_to_disk=True
    )

  def write(
    self,
    step: int,
    epoch: float,
    split: str,
    values: Mapping[str, float],
    speed: float | None = None,
  ) -> None:
    """Adds one record.

    Args:
      step: how many steps have been taken.
      epoch: the same in epochs.
      split: "train", "validation" or "test".
      values: name -> number.
      speed: images a second, for TensorBoard alone.
    """
    if not self._writes:
      return
    record = {"step": step, "epoch": round(epoch, 4), "split": split, **values}
    self._file.write(json.dumps(record) + "\n")
    self._file.flush()
    if speed is not None:
      values = {**values, "images_per_second": speed}
    for name, value in values.items():
      self._board.add_scalar(f"{split}/{name}", value, step)

  def sync(self) -> None:
    """Puts the records on the disk, where they outlive this machine."""
    if self._writes:
      os.fsync(self._file.fileno())

  def close(self) -> None:
    """Flushes what is written."""
    if self._writes:
      self._file.close()
      self._board.close()


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
  """The records of a metrics.jsonl; a last line that a kill cut short is left out."""
  for line in path.read_text().splitlines():
    try:
      yield json.loads(line)
    except json.JSONDecodeError:
      return


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
  """A file that takes its place when it is whole, whenever the process dies."""
  part = path.with_name(path.name + ".part")
  with part.open("wb") as file:
    yield file
    file.flush()
    os.fsync(file.fileno())
  part.replace(path)


def write_atomically(path: Path, text: str) -> None:
  """Writes a file that is never seen half-written, whenever the process dies."""
  with replacing(path) as file:
    file.write(text.encode())


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
  """Writes a .npy file that is never seen half-written."""
  with replacing(path) as file:
    np.save(file, array, allow_pickle=False)


def write_json(path: Path, value: Any) -> None:
  """Writes JSON that people can read, atomically."""
  write_atomically(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
  """The object that `write_json` wrote.

  Raises:
    UserError: the file is damaged.
  """
  try:
    value = json.loads(path.read_text())
  except ValueError:
    value = None
  if not isinstance(value, dict):
    raise UserError(f"{path} is damaged: move it away and start again")
  return value


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
  """The names, in order, whose values differ or that only one of the two has."""
  absent = object()
  for name in sorted(one.keys() | other.keys()):
    if one.get(name, absent) != other.get(name, absent):
      yield name


def same_identity(path: Path, saved: Any, identity: Any) -> None:
  """Refuses counts that another evaluation left, so that nothing overwrites them.

  Args:
    path: of the file that holds them.
    saved: what they say of themselves.
    identity: of the evaluation that would be written.

  Raises:
    UserError: one line that names the first difference.
  """
  saved, identity = saved or {}, json.loads(json.dumps(identity))
  for name in differences(saved, identity):
    raise UserError(
      f"{path} is of an evaluation with {name}={saved.get(name)!r}, not"
      f" {identity.get(name)!r}: move it away to evaluate anew"
    )


def say(message: str, shows: bool = True) -> None:
  """A line for the person at the terminal."""
  if shows:
    tqdm.tqdm.write(message, file=sys.stdout)
    sys.stdout.flush()


def complain(message: str, shows: bool = True) -> None:
  """A line for the person about what is wrong."""
  if shows:
    # Without its lock, for callers beside a main thread that may hold it; it takes
    # the progress bar out of the line's way.
    tqdm.tqdm.write(message, file=sys.stderr, nolock=True)
    sys.stderr.flush()


def progress(
  description: str, total: int, done: int, unit: str, shows: bool = True
) -> "tqdm.tqdm[Any]":
  """A progress bar with the rate and the time left.

  Args:
    description: what is going on.
    total: how much there is.
    done: how much of it an earlier run did.
    unit: of both, such as "images".
    shows: False on all processes but one.

  Returns:
    The bar: call `update(n)`, `set_postfix_str(text)`, `close()`.
  """
  return tqdm.tqdm(
    desc=description,
    total=total,
    initial=done,
    unit=f" {unit}",
    unit_scale=True,
    disable=not shows,
    dynamic_ncols=True,
    smoothing=0.1,
    # A log file wants a line now and then, not ten a second.
    mininterval=0.5 if sys.stderr.isatty() else 10.0,
  )
