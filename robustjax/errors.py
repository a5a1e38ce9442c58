"""What a person is meant to read of an error, and how a command ends with it."""

import argparse
import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

# Exit statuses: of what a person can mend, and of what was told to stop, by whatever
# signal, and can go on; it is what a shell says of "ended by SIGTERM".
MISTAKE, STOPPED = 2, 143

_DISK = {
  errno.ENOSPC: "is full",
  errno.EDQUOT: "has no quota left",
  errno.EIO: "fails",
  errno.EROFS: "is read-only",
  errno.ESTALE: "is gone",
}
_LIMITS = (errno.EMFILE, errno.ENFILE, errno.EFBIG, errno.ENOMEM)
_OF_A_PATH = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP,
  errno.ENAMETOOLONG)  # fmt: skip
_AGAIN = "what was saved before is whole"


class UserError(Exception):
  """A mistake the user can mend: one line that names the thing and the remedy.

  Commands print the message alone, without a traceback, and exit with `MISTAKE`.
  Anything else that is raised, but for what a disk, a limit or a path is to blame for,
  is a bug and keeps its traceback.
  """


class Parser(argparse.ArgumentParser):
  """The flags of a command: a mistake in them is a line, and none is abbreviated.

  Args:
    prog: such as "robustjax report".
    **others: as argparse's own.
  """

  def __init__(self, prog: str, **others: Any):
    super().__init__(prog, **{"allow_abbrev": False} | others)

  def error(self, message: str) -> NoReturn:
    """Called by argparse."""
    raise UserError(f"{message}; {self.prog} --help says more")


def line(error: BaseException) -> str | None:
  """What a person is told of an error; None if it is a bug."""
  if isinstance(error, UserError):
    return _clean(" ".join(str(error).split()))
  if isinstance(error, MemoryError):
    return f"no memory is left: {_AGAIN}; free some, or start again where there is more"
  return _of_the_system(error) if isinstance(error, OSError) else None


def _of_the_system(error: OSError) -> str | None:
  """A disk, a limit or a path that is not as it was meant; None of anything else."""
  name = _clean(str(error.filename2 or error.filename or ""))
  if error.errno in _DISK:
    what = f"the disk{f' of {name}' * bool(name)} {_DISK[error.errno]}"
    return f"{what} ({error.strerror}): {_AGAIN}; make room, and start again"
  if error.errno in _LIMITS:
    return f"a limit is reached ({error.strerror}): {_AGAIN}; see ulimit -a"
  if name and error.errno in _OF_A_PATH:
    what = "move it away or mend its permissions, and start again"
    return f"{name} is in the way ({error.strerror}): {what}"
  if name and error.errno == errno.ENOENT and not Path(name).absolute().parent.is_dir():
    return f"the folder of {name} is gone: {_AGAIN}; put it back, and start again"
  return None


def _clean(text: str) -> str:
  """A text with control characters, a file's or a stranger's perhaps, spelt out."""
  return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def ended(command: Callable[[], object]) -> int:
  """Runs a command of a single process; returns its exit status.

  Args:
    command: from its flags to its last line.
  """
  try:
    command()
  except Exception as error:
    told = line(error)
    if told is None:
      raise
    print(f"error: {told}", file=sys.stderr)
    return MISTAKE
  return 0
