"""Lines and bars for the person, and what two records differ in."""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tqdm

from robustjax.errors import UserError


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
  """The names, in order, whose values differ or that only one of the two has."""
  absent = object()
  for name in sorted(one.keys() | other.keys()):
    if one.get(name, absent) != other.get(name, absent):
      yield name


def same_identity(path: Path, saved: Any, identity: Any) -> None:
  """Refuses counts that another evaluation left, so that nothing overwrites them.

  Args:
    path: of the file that holds them.
    saved: what they say of themselves.
    identity: of the evaluation that would be written.

  Raises:
    UserError: one line that names the first difference.
  """
  saved, identity = saved or {}, json.loads(json.dumps(identity))
  for name in differences(saved, identity):
    raise UserError(
      f"{path} is of an evaluation with {name}={saved.get(name)!r}, not"
      f" {identity.get(name)!r}: move it away to evaluate anew"
    )


def say(message: str, shows: bool = True) -> None:
  """A line for the person at the terminal, if there is one."""
  if shows:
    with contextlib.suppress(OSError):
      tqdm.tqdm.write(_printable(message, sys.stdout), file=sys.stdout)
      sys.stdout.flush()


def complain(message: str, shows: bool = True) -> None:
  """A line for the person about what is wrong."""
  if shows:
    # Without its lock, for callers beside a main thread that may hold it; it takes
    # the progress bar out of the line's way.
    with contextlib.suppress(OSError):
      tqdm.tqdm.write(_printable(message, sys.stderr), file=sys.stderr, nolock=True)
      sys.stderr.flush()


def _printable(message: str, stream: Any) -> str:
  """What a terminal's encoding has of a line; names of files and classes have more."""
  encoding = getattr(stream, "encoding", None) or "utf-8"
  return message.encode(encoding, "backslashreplace").decode(encoding)


@contextlib.contextmanager
def aside(what: str) -> Iterator[None]:
  """What is done in it may fail without stopping a run: the failure is said."""
  try:
    yield
  except Exception as error:  # of disks, fonts, data, whatever
    reason = " ".join(str(error).split()) or type(error).__name__
    complain(f"{what} could not be made ({reason}): the same command makes up for it")


class _Terminal:
  """Standard error, which may go away while a bar is drawn."""

  def __getattr__(self, name: str) -> Any:
    return getattr(sys.stderr, name)

  def write(self, text: str) -> int:
    with contextlib.suppress(OSError):
      sys.stderr.write(_printable(text, sys.stderr))
    return len(text)

  def flush(self) -> None:
    with contextlib.suppress(OSError):
      sys.stderr.flush()


def progress(
  description: str, total: int, done: int, unit: str, shows: bool = True
) -> "tqdm.tqdm[Any]":
  """A progress bar with the rate and the time left.

  Args:
    description: what is going on.
    total: how much there is.
    done: how much of it an earlier run did.
    unit: of both, such as "images".
    shows: False on all processes but one.

  Returns:
    The bar: call `update(n)`, `set_postfix_str(text)`, `close()`.
  """
  return tqdm.tqdm(
    desc=description,
    file=_Terminal(),
    total=total,
    initial=done,
    unit=f" {unit}",
    unit_scale=True,
    disable=not shows,
    dynamic_ncols=True,
    smoothing=0.1,
    # A log file wants a line now and then, not ten a second.
    mininterval=0.5 if sys.stderr.isatty() else 10.0,
  )
