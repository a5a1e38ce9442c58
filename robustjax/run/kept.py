"""The code of other people's pieces that a run is trained with, kept beside it."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from robustjax.config import Config
from robustjax.errors import UserError
from robustjax.run import pieces
from robustjax.run import workdir as workdirs
from robustjax.runtime import files, log

FOLDER = "pieces"


def check(workdir: Path, config: Config) -> None:
  """Refuses to go on with other code than a run began with.

  Raises:
    UserError: one line that names the piece and where the code is that it was.
  """
  if workdirs.has_checkpoint(workdir):
    for change in changes(workdir, config):
      raise UserError(
        f"{change}: put that back to go on, or give this run a --workdir of its own"
      )


def changes(workdir: Path, config: Config, of: str = "") -> Iterator[str]:
  """A line for each piece whose file is not what it was when the run began.

  Comments and layout may change. What the file imports is not looked at. A damaged copy
  is no matter where the file itself is what config.json says.

  Args:
    workdir: of the run.
    config: of the run.
    of: how the names begin that count, such as "model."; all count if empty.
  """
  recorded = workdirs.begun_with(workdir)
  for name, what in _counting(config).items():
    copy, path = _copy(workdir, what), pieces.source(what)
    if not (name.startswith(of) and copy.exists() and path) or _same(copy, path):
      continue
    is_damaged = _is_damaged(copy, recorded.get(name))
    if is_damaged and _is_recorded(path, recorded.get(name)):
      continue
    was = f"which is {copy}"
    if is_damaged:
      was = f"and {copy} is damaged, whose SHA-256 {workdirs.CONFIG} has"
    yield (
      f"{path}, which config.{name}={what} is in, is not what it was when the run"
      f" began, {was}"
    )


def keep(workdir: Path, config: Config) -> None:
  """Puts the files of the pieces into the folder; for the process that leads."""
  begun, recorded = workdirs.has_checkpoint(workdir), workdirs.begun_with(workdir)
  for name, what in _counting(config).items():
    copy, path = _copy(workdir, what), pieces.source(what)
    if not path:
      continue
    if begun and copy.exists():
      if not (
        _is_damaged(copy, recorded.get(name)) and _is_recorded(path, recorded.get(name))
      ):
        continue
      log.complain(f"{copy} is damaged: it is made anew of {path}, which is as it was")
    copy.parent.mkdir(exist_ok=True)
    files.write_bytes(copy, path.read_bytes())


def _is_recorded(path: Path, recorded: Sequence[str] | None) -> bool:
  """Whether a file is what config.json says of a piece."""
  return recorded is not None and pieces.digest(path) == recorded[1]


def _is_damaged(copy: Path, recorded: Sequence[str] | None) -> bool:
  """Whether a copy is not what config.json says; an older one says nothing."""
  return recorded is not None and not _is_recorded(copy, recorded)


def _counting(config: Config) -> dict[str, str]:
  """The pieces that a run's results depend on."""
  own = pieces.own(config)
  return {n: what for n, what in own.items() if not n.startswith(workdirs.FREE)}


def _copy(workdir: Path, what: str) -> Path:
  return workdir / FOLDER / f"{what.partition(':')[0]}.py"


def _same(one: Path, other: Path) -> bool:
  """Whether two files are the same code."""
  codes = one.read_bytes(), other.read_bytes()
  try:
    return codes[0] == codes[1] or len({ast.dump(ast.parse(c)) for c in codes}) == 1
  except (SyntaxError, ValueError):  # of another kind of file
    return False
