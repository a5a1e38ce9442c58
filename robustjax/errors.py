"""What a person is meant to read of an error, and how a command ends with it."""

import argparse
import errno
import sys
from collections.abc import Callable
from typing import Any, NoReturn

MISTAKE = 2  # exit status of what a person can mend

_DISK = {
  errno.ENOSPC: "is full",
  errno.EDQUOT: "has no quota left",
  errno.EIO: "fails",
  errno.EROFS: "is read-only",
}


class UserError(Exception):
  """A mistake the user can mend: one line that names the thing and the remedy.

  Commands print the message alone, without a traceback, and exit with `MISTAKE`.
  Anything else that is raised, but for a disk that is full or fails, is a bug and keeps
  its traceback.
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
  if isinstance(error, OSError) and error.errno in _DISK:
    where = f" of {error.filename}" if error.filename else ""
    what = f"the disk{where} {_DISK[error.errno]} ({error.strerror})"
    return f"{what}: what was saved before is whole; make room, and start again"
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
