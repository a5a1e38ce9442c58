"""The folder of a run: whose it is, and what is finished in it."""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from robustjax import config as configs
from robustjax.config import Config
from robustjax.errors import UserError
from robustjax.runtime import log

CONFIG = "config.json"
EVALUATION = "evaluation.json"
CHECKPOINTS = "checkpoints"
LOCK = ".lock"

# What may change between two starts of one run: nothing that training depends on. What
# a run did before it met a broken image, it would have done with broken_images="skip".
# The network is the same in either form, to rounding, and so are its checkpoints. The
# crop is the evaluation's alone; an orientation turns what is trained on too.
FREE = (
  "data.broken_images", "data.class_digest", "data.data_dir", "data.interpolation",
  "data.resize", "data.workers", "eval.", "model.remat", "model.scan",
)  # fmt: skip


def default(config: Config) -> Path:
  """runs/<setting>-<scale>."""
  return Path("runs") / f"{config.setting}-{config.scale}"


def has_checkpoint(workdir: Path) -> bool:
  """Whether a run has saved a step here."""
  return any(p.name.isdigit() for p in workdir.glob(f"{CHECKPOINTS}/*"))


def check(workdir: Path, config: Config) -> None:
  """Refuses a folder that holds a run of another configuration.

  Raises:
    UserError: one line that names the first difference.
  """
  path = workdir / CONFIG
  if not (has_checkpoint(workdir) and path.exists()):  # there is nothing to lose
    return
  for name, before, after in differences(configs.load(log.read_json(path)), config):
    if not name.startswith(FREE):
      raise UserError(
        f"{workdir} holds a run with config.{name}={before!r}, not {after!r}: give this"
        " one a --workdir of its own"
      )


def differences(one: Config, other: Config) -> Iterator[tuple[str, Any, Any]]:
  """What differs between two configurations, one of them perhaps from its file.

  Yields:
    The dotted name, and both values as the file has them: tuples are lists there.
  """
  before, after = (json.loads(json.dumps(configs.flatten(c))) for c in (one, other))
  for name in log.differences(before, after):
    yield name, before.get(name), after.get(name)


def claim(workdir: Path, config: Config) -> TextIO:
  """Makes the folder this run's: writes config.json and locks the folder.

  Args:
    workdir: made if it is missing.
    config: of the run.

  Returns:
    The open lock file: the folder is locked until it is closed or the process ends.

  Raises:
    UserError: the folder cannot be written or locked, or another process is at work
      in it.
  """
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    lock = (workdir / LOCK).open("a")
  except OSError as error:
    raise UserError(
      f"{workdir} cannot be written to ({error.strerror}): name another --workdir"
    ) from error
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    lock.close()
    raise UserError(
      f"another process is at work in {workdir}: wait for it, or give this run a"
      " --workdir of its own"
    ) from error
  except OSError as error:
    lock.close()
    raise UserError(
      f"{workdir} cannot be locked ({error.strerror}): name a --workdir on a file"
      " system that locks"
    ) from error
  lock.truncate(0)
  lock.write(f"{socket.gethostname()} process {os.getpid()} {time.time_ns()}\n")
  lock.flush()
  os.fsync(lock.fileno())  # or some network file systems would not show it to others
  log.write_json(workdir / CONFIG, _record(config))
  return lock


@contextlib.contextmanager
def at_rest(run: Path) -> Iterator[None]:
  """Keeps a training process out: it removes checkpoints that it keeps no longer.

  Raises:
    UserError: one is at work.
  """
  path = run / LOCK
  if not path.exists():
    yield
    return
  with path.open() as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise UserError(f"another process is at work in {run}: wait for it") from error
    yield


def holder(workdir: Path) -> str:
  """Who claimed the folder last: host, process and time; empty if nobody did."""
  path = workdir / LOCK
  return path.read_text() if path.exists() else ""


def await_holder(workdir: Path, wanted: str, seconds: float = 60.0) -> None:
  """Waits until this host sees that process 0 has claimed the folder.

  Args:
    workdir: the folder.
    wanted: what process 0 reads as its `holder`.
    seconds: how late a network file system may show a change.

  Raises:
    UserError: it does not come.
  """
  until = time.monotonic() + seconds
  while holder(workdir) != wanted:
    if time.monotonic() > until:
      raise UserError(
        f"{workdir} is not the folder that process 0 writes to: name a --workdir on a"
        " file system that all hosts share"
      )
    time.sleep(0.5)


def finished_evaluation(workdir: Path, identity: Any) -> dict[str, Any] | None:
  """The evaluation in the folder, if there is one.

  Raises:
    UserError: it is of another `stages.evaluation_identity`, or damaged.
  """
  path = workdir / EVALUATION
  if not path.exists():
    return None
  evaluation = log.read_json(path)
  log.same_identity(path, evaluation.get("identity"), identity)
  return evaluation


def _record(config: Config) -> dict[str, Any]:
  """What config.json holds: the values, what was overridden, and every source."""
  return {
    **configs.plain(config),
    "overrides": configs.overrides(config),
    "table": configs.table(config),
  }
