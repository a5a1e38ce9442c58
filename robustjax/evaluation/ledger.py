"""The ledger of an evaluation: a line an image, kept through any kill.

Lines are appended to images.jsonl as soon as an image is decided: after the clean
reading those that are wrong, after each attack's batch those that it broke, at the end
the rest. Beside it, progress.json says how far the file is certain and what is known of
the undecided; what was appended after that is dropped and made again, the same. Either
that file or, at the end, summary.json has the digest of images.jsonl.
"""

import dataclasses
import hashlib
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
_DIGEST = "images_sha256"  # of images.jsonl, or of its certain part

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
  """The files of one evaluation; where they are damaged, they are made anew.

  Args:
    folder: where they are; made if it is missing.
    identity: what the evaluation depends on.
    writes: False on all processes but one, which read the same files.

  Raises:
    UserError: the folder holds another evaluation.
  """

  def __init__(self, folder: Path, identity: Mapping[str, Any], writes: bool = True):
    self._folder, self._writes = folder, writes
    self._identity = json.loads(json.dumps(identity))
    self._size, self._sha256 = 0, hashlib.sha256()
    self._summary: dict[str, Any] | None = None
    self.state = State()
    if writes:
      make_folder(folder)
    try:
      self._read()
    except files.Damaged as error:
      self._size, self._sha256, self.state = 0, hashlib.sha256(), State()
      self._make_anew(error)

  def summary(self) -> dict[str, Any] | None:
    """What summary.json says, if this evaluation is complete."""
    return self._summary

  def commit(self, decided: Iterable[Record]) -> None:
    """Appends the records of decided images, and then what `state` has become."""
    if not self._writes:
      return
    lines = "".join(json.dumps(record) + "\n" for record in decided).encode()
    with (self._folder / IMAGES).open("r+b" if self._size else "wb") as file:
      file.seek(self._size)
      file.truncate()
      file.write(lines)
      file.flush()
      os.fsync(file.fileno())
    self._size += len(lines)
    self._sha256.update(lines)
    state = dataclasses.asdict(self.state)
    state["waiting"] = list(self.state.waiting.values())
    values = {"identity": self._identity, "bytes": self._size, "state": state}
    values[_DIGEST] = self._sha256.hexdigest()
    files.write_json(self._folder / PROGRESS, values, indent=None)

  def finish(self, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Writes summary.json: from here on the evaluation is complete."""
    whole = {"identity": self._identity, **summary}
    if self._writes:
      whole[_DIGEST] = self._sha256.hexdigest()
      files.write_json(self._folder / SUMMARY, whole)
      (self._folder / PROGRESS).unlink(missing_ok=True)
    return whole

  def _read(self) -> None:
    progress = self._folder / PROGRESS
    if (self._folder / SUMMARY).exists():
      self._summary = read_summary(self._folder, self._identity)
      if self._writes:
        progress.unlink(missing_ok=True)  # of one that was killed at its very end
    elif progress.exists():
      self._resume(progress)
    elif self._writes:
      self._refuse_strangers()
      self.commit(())

  def _resume(self, path: Path) -> None:
    values = files.read_json(path)
    _same_evaluation(path, values.get("identity"), self._identity)
    try:
      self._size, state = values["bytes"], values["state"]
      waiting = {record["index"]: record for record in state.pop("waiting")}
      self.state = State(**state, waiting=waiting)
    except (KeyError, TypeError, AttributeError) as error:
      raise files.Damaged(f"{path} does not say how far the evaluation is") from error
    images = self._folder / IMAGES
    content = _content(images)[: self._size]
    self._sha256 = hashlib.sha256(content)
    if len(content) < self._size:
      raise files.Damaged(f"{images} is shorter than {PROGRESS} says")
    _same(images, values, self._sha256.hexdigest())

  def _make_anew(self, error: files.Damaged) -> None:
    if not self._writes:
      return
    there = [self._folder / name for name in (SUMMARY, PROGRESS, IMAGES)]
    asides = [files.set_aside(path).name for path in there if path.exists()]
    now = f"now {', '.join(asides)}; its images are evaluated anew"
    log.complain(f"{error}. The files of {self._folder} are {now}")
    self.commit(())

  def _refuse_strangers(self) -> None:
    path = self._folder / IMAGES
    if path.exists() and path.stat().st_size:
      raise UserError(
        f"{path} is there without {SUMMARY} or {PROGRESS}: name another --out, or move"
        " it away"
      )


def read_summary(folder: Path, identity: Mapping[str, Any] | None) -> dict[str, Any]:
  """What summary.json of a complete evaluation says; its ledger is looked at too.

  Args:
    folder: of the evaluation.
    identity: which it must be of; None if any will do.

  Raises:
    Damaged: one of the two is not what was written.
    UserError: it is of another evaluation.
  """
  path = folder / SUMMARY
  summary = files.read_json(path)
  if identity is not None:
    _same_evaluation(path, summary.get("identity"), identity)
  images = folder / IMAGES
  _same(images, summary, hashlib.sha256(_content(images)).hexdigest())
  return summary


def _same_evaluation(path: Path, saved: Any, identity: Mapping[str, Any]) -> None:
  """Refuses another one; the folder of a run or a file of weights may have moved."""
  found = dict(saved) if isinstance(saved, dict) else {}
  names = {Path(str(one.get("network", ""))).name for one in (found, identity)}
  if len(names) == 1 and found.get("network") and ":" not in names.pop():
    found["network"] = identity["network"]
  log.same_identity(path, found, identity)


def _content(path: Path) -> bytes:
  return path.read_bytes() if path.exists() else b""


def _same(path: Path, values: Mapping[str, Any], digest: str) -> None:
  if values.get(_DIGEST, digest) != digest:  # older ones have none
    raise files.Damaged(f"{path} is not what was written")


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
