"""Whether the files of a complete run are what it wrote: nobody reads them again."""

import contextlib
import hashlib
from pathlib import Path

from robustjax.config import Config
from robustjax.evaluation import ledger
from robustjax.run import place
from robustjax.run import workdir as workdirs
from robustjax.runtime import checkpoint, files, log, metrics


def look(workdir: Path, config: Config) -> None:
  """Says what is damaged, each in a line; writes config.json anew if it is gone.

  For the process that leads.

  Args:
    workdir: of a run that is complete, and known to be of this configuration.
    config: of the run.
  """
  if not (workdir / workdirs.CONFIG).exists():
    names = place.of_checkpoints(workdir).get(workdirs.FILES, "")
    workdirs.claim(workdir, config, names).close()
  path = workdir / metrics.METRICS
  known = _records(workdir)
  content = path.read_bytes() if path.exists() else b""
  if known and hashlib.sha256(content).hexdigest() != known:
    log.complain(
      f"{path} is not what was written: its curves may be wrong; put it back from a"
      " copy"
    )
  for folder in sorted((workdir / ledger.EVALUATIONS).glob("*/")):
    if (folder / ledger.SUMMARY).exists() or (folder / ledger.IMAGES).exists():
      _look_at_an_evaluation(folder)


def _records(workdir: Path) -> str:
  """The digest of all records, of the last checkpoint; "" if it does not say."""
  directory = workdir / workdirs.CHECKPOINTS
  with contextlib.suppress(files.Damaged, IndexError):
    return checkpoint.about(directory, checkpoint.steps(directory)[-1]).records
  return ""


def _look_at_an_evaluation(folder: Path) -> None:
  progress = folder / ledger.PROGRESS
  if progress.exists():
    return  # it is not complete: whoever goes on with it looks
  try:
    ledger.read_summary(folder, None)
  except (files.Damaged, OSError) as error:
    log.complain(f"{error}. Move {folder} away, and evaluate again")
