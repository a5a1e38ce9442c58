"""The ledger of an evaluation: a line an image, kept through any kill.

Lines are appended to images.jsonl as soon as an image is decided: after the clean
reading those that are wrong, after each attack's batch those that it broke, at the end
the rest. Beside it, progress.json says how far the file is certain and what is known of
the undecided; what was appended after that is dropped and made again, the same.
"""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from robustjax.errors import UserError
from robustjax.runtime import files, log

IMAGES = "images.jsonl"
SUMMARY = "summary.json"
PROGRESS = "progress.json"
EVALUATIONS = "evaluations"  # the folder of a run that they are in

Record = dict[str, Any]


@dataclasses.dataclass
class State:
  """How far an evaluation is.

  Attributes:
    stage: 0 is the clean reading, then come the runs of the attacks in their order.
    done: in the clean reading, how many images are read; then, how many of `waiting`
      this run has attacked.
    waiting: the images that are not decided, by index, in their order.
    counts: what summary.json will say.
  """

  stage: int = 0
  done: int = 0
  waiting: dict[int, Record] = dataclasses.field(default_factory=dict)
  counts: dict[str, Any] = dataclasses.field(default_factory=dict)


class Ledger:
  """The files of one evaluation.

  Args:
    folder: where they are; made if it is missing.
    identity: what the evaluation depends on.
    writes: False on all processes but one, which read the same files.

  Raises:
    UserError: the folder holds another evaluation, or a damaged one.
  """

  def __init__(self, folder: Path, identity: Mapping[str, Any], writes: bool = True):
    self._folder, self._writes = folder, writes
    self._identity = json.loads(json.dumps(identity))
    self._size = 0
    self.state = State()
    if writes:
      make_folder(folder)
    progress = folder / PROGRESS
    if progress.exists():
      self._resume(progress)
    elif writes and self.summary() is None:
      self._refuse_strangers()
      self.commit(())

  def summary(self) -> dict[str, Any] | None:
    """What summary.json says, if this evaluation is complete.

    Raises:
      UserError: it is of another evaluation.
    """
    path = self._folder / SUMMARY
    if not path.exists():
      return None
    summary = files.read_json(path)
    log.same_identity(path, summary.get("identity"), self._identity)
    return summary

  def commit(self, decided: Iterable[Record]) -> None:
    """Appends the records of decided images, and then what `state` has become."""
    if not self._writes:
      return
    lines = "".join(json.dumps(record) + "\n" for record in decided)
    with (self._folder / IMAGES).open("r+b" if self._size else "wb") as file:
      file.seek(self._size)
      file.truncate()
      file.write(lines.encode())
      file.flush()
      os.fsync(file.fileno())
    self._size += len(lines.encode())
    state = dataclasses.asdict(self.state)
    state["waiting"] = list(self.state.waiting.values())
    values = {"identity": self._identity, "bytes": self._size, "state": state}
    files.write_json(self._folder / PROGRESS, values, indent=None)

  def finish(self, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Writes summary.json: from here on the evaluation is complete."""
    whole = {"identity": self._identity, **summary}
    if self._writes:
      files.write_json(self._folder / SUMMARY, whole)
      (self._folder / PROGRESS).unlink(missing_ok=True)
    return whole

  def _resume(self, path: Path) -> None:
    values = files.read_json(path)
    log.same_identity(path, values.get("identity"), self._identity)
    images = self._folder / IMAGES
    size = images.stat().st_size if images.exists() else 0
    if size < values["bytes"]:
      raise UserError(
        f"{images} is shorter than {PROGRESS} says: move {self._folder} away and start"
        " again"
      )
    self._size, state = values["bytes"], values["state"]
    waiting = {record["index"]: record for record in state.pop("waiting")}
    self.state = State(**state, waiting=waiting)

  def _refuse_strangers(self) -> None:
    path = self._folder / IMAGES
    if path.exists() and path.stat().st_size:
      raise UserError(
        f"{path} is there without {SUMMARY} or {PROGRESS}: name another --out, or move"
        " it away"
      )


def make_folder(folder: Path) -> None:
  """Makes the folder of an evaluation.

  Raises:
    UserError: it cannot be written to.
  """
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(
      f"{folder} cannot be written to ({error.strerror}): name another --out"
    ) from error
