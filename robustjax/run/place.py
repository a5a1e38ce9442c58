"""Where a run's images are, which may change, and that they are the same ones."""

import contextlib
from pathlib import Path
from typing import Any

from robustjax.config import Config
from robustjax.data import sources
from robustjax.errors import UserError
from robustjax.run import workdir as workdirs
from robustjax.runtime import checkpoint, files


def check(workdir: Path, config: Config, digest: str) -> None:
  """Refuses other images at another place, or at the same one.

  A folder may move: its run goes on where its files have the same names.

  Args:
    workdir: of the run, which `workdir.check` has let pass.
    config: of this start.
    digest: of its images, from `Data.digest`; "" if a name and version say it all.

  Raises:
    UserError: one line that names both places.
  """
  record = _recorded(workdir)
  if not (digest and record):
    return
  before, after = record["data"]["name"], config.data.name
  known = record.get(workdirs.FILES)
  if known is None and sources.place(before) != sources.place(after):  # an older run
    raise UserError(
      f"{workdir} holds a run with config.data.name={before!r}, not {after!r}: give"
      " this one a --workdir of its own"
    )
  if known not in (None, digest):
    raise UserError(
      f"{after} has other images than {before} had when the run in {workdir} began:"
      " put those back, or give this one a --workdir of its own"
    )


def moved(workdir: Path, config: Config) -> bool:
  """Whether the run in the folder had its images at another place."""
  record = _recorded(workdir)
  now = sources.place(config.data.name)
  return bool(record) and sources.place(record["data"]["name"]) != now


def _recorded(workdir: Path) -> dict[str, Any]:
  """What the run in the folder says of itself; empty if none has begun."""
  path = workdir / workdirs.CONFIG
  if path.exists() and (
    workdirs.has_checkpoint(workdir) or (workdir / workdirs.EVALUATION).exists()
  ):
    return files.read_json(path)
  return of_checkpoints(workdir)


def of_checkpoints(workdir: Path) -> dict[str, Any]:
  """What its checkpoints say of a run, without config.json; empty if nothing."""
  directory = workdir / workdirs.CHECKPOINTS
  for step in reversed(checkpoint.steps(directory)):
    with contextlib.suppress(files.Damaged):
      return dict(checkpoint.about(directory, step).run)
  return {}
