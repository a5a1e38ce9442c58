"""The folder of a run: whose it is, and what is finished in it."""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from robustjax import config as configs
from robustjax.config import Config
from robustjax.data import sources
from robustjax.errors import UserError
from robustjax.evaluation import evaluate
from robustjax.evaluation.ledger import EVALUATIONS
from robustjax.run import pieces
from robustjax.runtime import files, log, metrics

CONFIG = "config.json"
EVALUATION = "evaluation.json"
CHECKPOINTS = "checkpoints"
LOCK = ".lock"
RUN = "run"  # of evaluation.json: the `digest` of its run
FILES = "files"  # of config.json and checkpoints: `Data.digest` of a path's images
# What only a trained run has.
_AFTER_TRAINING = (evaluate.PROGRESS, EVALUATIONS)

# What may change between two starts of one run: nothing that training depends on. What
# a run did before it met a broken image, it would have done with broken_images="skip".
# The network is the same in either form, to rounding, and so are its checkpoints. The
# crop is that of evaluation and validation; an orientation turns training images too.
FREE = (
  "data.broken_images", "data.class_digest", "data.data_dir", "data.interpolation",
  "data.resize", "data.workers", "eval.", "model.remat", "model.scan",
  "train.tracker",
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
  begun = has_checkpoint(workdir) or (workdir / EVALUATION).exists()
  if not (begun and path.exists()):  # there is nothing to lose, or each file is asked
    return
  refuse_other(f"{workdir} holds", files.read_json(path), config)


def refuse_other(what: str, run: Mapping[str, Any], config: Config) -> None:
  """Refuses a run of another configuration.

  Args:
    what: has it, with its verb.
    run: its configuration, as its files have it; nothing of an older version.
    config: of this start.

  Raises:
    UserError: one line that names the first difference.
  """
  for name, before, after in differences(configs.load(run), config) if run else ():
    if not name.startswith(FREE):
      raise UserError(
        f"{what} a run with config.{name}={before!r}, not {after!r}: give this one a"
        " --workdir of its own"
      )


def check_beginning(workdir: Path) -> None:
  """Refuses to begin at step 0 where a run has been: its checkpoints are gone.

  Raises:
    UserError: one line that says by what it is known.
  """
  if has_checkpoint(workdir):
    return
  known = [path.name for path in workdir.glob(f"{CHECKPOINTS}/*.damaged*")]
  known += [name for name in _AFTER_TRAINING if (workdir / name).exists()]
  records = metrics.read_metrics(workdir / metrics.METRICS)
  # A save that failed is heard of at the next one, after its validation's record.
  if sum(record["split"] == "validation" for record in records) > 2:
    known.append(f"{metrics.METRICS} of {records[-1]['step']} steps")
  if known:
    raise UserError(
      f"{workdir} has {known[0]} and no checkpoint that is whole: put its"
      f" {CHECKPOINTS}/ back from a copy, or give this run a --workdir of its own"
    )


def differences(one: Config, other: Config) -> Iterator[tuple[str, Any, Any]]:
  """What differs between two configurations, one of them perhaps from its file.

  Yields:
    The dotted name, and both values as the file has them: tuples are lists there.
    Two paths of images are no difference: `place.check` asks what is there.
  """
  before, after = (json.loads(json.dumps(configs.flatten(c))) for c in (one, other))
  for name in log.differences(before, after):
    both = str(before.get(name)), str(after.get(name))
    if name == "data.name" and all(map(sources.is_path, both)):
      continue
    yield name, before.get(name), after.get(name)


def claim(workdir: Path, config: Config, digest: str = "") -> TextIO:
  """Makes the folder this run's: writes config.json and locks the folder.

  Args:
    workdir: made if it is missing.
    config: of the run.
    digest: of its images, from `Data.digest`.

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
  files.write_json(workdir / CONFIG, _record(config, workdir) | with_files(digest))
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


def digest(config: Config) -> str:
  """What tells runs apart: all that may not change between two starts of one."""
  flat = configs.flatten(config)
  if sources.is_path(config.data.name):
    flat["data.name"] = ""
  kept = {
    name: value
    for name, value in flat.items()
    if not name.startswith(FREE)
    and (name not in configs.SINCE_DIGESTS or value != configs.BEFORE[name])
  }
  return files.digest(kept)[:16]


def with_files(digest: str) -> dict[str, str]:
  """How a record says which images a path has; it says nothing of a named data set."""
  return {FILES: digest} if digest else {}


def finished_evaluation(
  workdir: Path, identity: Any, run: str
) -> dict[str, Any] | None:
  """The evaluation in the folder, if there is one.

  Args:
    workdir: the folder.
    identity: of the evaluation.
    run: the `digest` of its configuration.

  Raises:
    UserError: it is of another `stages.evaluation_identity`, or damaged.
  """
  path = workdir / EVALUATION
  if not path.exists():
    return None
  evaluation = files.read_json(path)
  if not (isinstance(evaluation.get("rows"), list) and evaluation["rows"]):
    raise files.Damaged(f"{path} has no rows: move it away and evaluate again")
  saved = evaluation.get("identity")
  if isinstance(saved, dict) and sources.is_path(str(saved.get("data"))):
    saved["data"] = identity.get("data")  # an older one names the place
  log.same_identity(path, saved, identity)
  if evaluation.get(RUN, run) != run:
    raise UserError(
      f"{path} is of a run of another configuration, whose {CONFIG} is gone: give this"
      " one a --workdir of its own"
    )
  return evaluation


def begun_with(workdir: Path) -> dict[str, list[str]]:
  """What config.json has of a run's pieces, from the start that saved its first step.

  Returns:
    Dotted name -> as `pieces.digests`; nothing if no step is saved.
  """
  path = workdir / CONFIG
  if not (has_checkpoint(workdir) and path.exists()):
    return {}
  found: dict[str, list[str]] = files.read_json(path).get("pieces", {})
  return found


def _record(config: Config, workdir: Path) -> dict[str, Any]:
  """What config.json holds: the values, overrides, sources and pieces."""
  return {
    **configs.plain(config),
    "overrides": configs.overrides(config),
    "table": configs.table(config),
    **({"pieces": d} if (d := pieces.digests(config) | begun_with(workdir)) else {}),
  }
