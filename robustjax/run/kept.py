"""The code of other people's pieces that a run is trained with, kept beside it."""

import ast
from collections.abc import Iterator
from pathlib import Path

from robustjax.config import Config
from robustjax.errors import UserError
from robustjax.run import pieces
from robustjax.run import workdir as workdirs
from robustjax.runtime import files

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

  Comments and layout may change. What the file imports is not looked at.

  Args:
    workdir: of the run.
    config: of the run.
    of: how the names begin that count, such as "model."; all count if empty.
  """
  for name, what in _counting(config).items():
    copy, path = _copy(workdir, what), pieces.source(what)
    if name.startswith(of) and copy.exists() and path and not _same(copy, path):
      yield (
        f"{path}, which config.{name}={what} is in, is not what it was when the run"
        f" began, which is {copy}"
      )


def keep(workdir: Path, config: Config) -> None:
  """Puts the files of the pieces into the folder; for the process that leads."""
  begun = workdirs.has_checkpoint(workdir)
  for what in _counting(config).values():
    copy, path = _copy(workdir, what), pieces.source(what)
    if path and not (begun and copy.exists()):
      copy.parent.mkdir(exist_ok=True)
      files.write_bytes(copy, path.read_bytes())


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
