"""Lines and bars for the person, and what two records differ in."""

import contextlib
import json
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tqdm

from robustjax.errors import UserError

QUIET_SECONDS = 5.0  # what takes no longer is not told of
LINE_SECONDS = 30.0  # between two lines of a bar in a log
_NARROW = 60  # columns of a terminal, below which only the time left has room


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
def aside(what: str, shows: bool = True) -> Iterator[None]:
  """What is done in it may fail without stopping a run: the failure is said."""
  try:
    yield
  except Exception as error:  # of disks, fonts, data, whatever
    reason = " ".join(str(error).split()) or type(error).__name__
    line = f"{what} could not be made ({reason}): the same command makes up for it"
    complain(line, shows)


class _Terminal:
  """Standard error, which may go away while a bar is drawn.

  tqdm takes its bars out of the way of lines that go to the same stream.
  """

  __hash__ = None  # type: ignore[assignment]

  def __init__(self) -> None:
    self.written = time.monotonic()

  def __eq__(self, other: object) -> bool:
    return other is self or other is sys.stderr

  def __getattr__(self, name: str) -> Any:
    return getattr(sys.stderr, name)

  def write(self, text: str) -> int:
    self.written = time.monotonic()
    with contextlib.suppress(OSError):
      sys.stderr.write(_printable(text, sys.stderr))
    return len(text)

  def flush(self) -> None:
    with contextlib.suppress(OSError):
      sys.stderr.flush()


class _Log(_Terminal):
  """Standard error where nothing can be drawn over: a bar is a line now and then."""

  __hash__ = None

  def __eq__(self, other: object) -> bool:
    return other is self  # no line has to get out of another's way

  def write(self, text: str) -> int:
    if line := text.strip():
      super().write(f"{line}\n")
    return len(text)


class Bar(tqdm.tqdm):
  """A bar that goes on counting seconds while nothing is done, as in a compile."""

  def __init__(self, *, compiles: bool = False, **options: Any):
    draws = _draws(sys.stderr)
    self._every = 1.0 if draws else LINE_SECONDS
    self._stream = _Terminal() if draws else _Log()
    shape = {} if draws else {"ncols": 0, "dynamic_ncols": False}
    interval = {"mininterval": 0.5 if draws else LINE_SECONDS}
    postfix = "compiling" if compiles else None
    super().__init__(
      file=self._stream, postfix=postfix, miniters=1, **options | shape | interval
    )
    self._compiles = compiles and not self.disable  # which has no clock
    if not self.disable:
      ticking = threading.Thread(target=_tick, args=(weakref.ref(self),), daemon=True)
      ticking.start()

  @property
  def format_dict(self) -> Any:
    """What tqdm draws it of."""
    shown = super().format_dict
    if self.total and 0 < (shown["ncols"] or 0) < _NARROW:
      shown["bar_format"] = "{desc}: {percentage:3.0f}% [{elapsed}<{remaining}]"
    return shown

  def update(self, n: float | None = 1) -> bool | None:
    """Counts what was done."""
    if not self._compiles:
      return super().update(n)
    # The rate, and so the time left, is of what follows the compile.
    self._compiles = False
    self.set_postfix_str("", refresh=False)
    self.n += n
    self.initial = self.last_print_n = self.n
    self.start_t = self.last_print_t = self._time()
    return False

  def tick(self) -> None:
    """Draws it, if that was not done for a while; `update` does where it can."""
    every = self._every * (1 if self.n == self.last_print_n else 2)
    if time.monotonic() - self._stream.written >= every:
      self.refresh()


def _draws(stream: Any) -> bool:
  """Whether a line there can be drawn over."""
  try:
    return stream.isatty() and os.environ.get("TERM") != "dumb"
  except (AttributeError, OSError, ValueError):  # it is gone
    return False


def _tick(of: "weakref.ref[Bar]") -> None:
  while True:
    time.sleep(1)
    bar = of()
    if bar is None or bar.disable:  # dropped or closed
      return
    bar.tick()
    del bar


def progress(
  description: str,
  total: int,
  done: int,
  unit: str,
  shows: bool = True,
  *,
  compiles: bool = False,
) -> Bar:
  """A progress bar with the rate and the time left; in a log, a line now and then.

  Args:
    description: what is going on.
    total: how much there is.
    done: how much of it an earlier run did.
    unit: of both, such as "images".
    shows: False on all processes but one.
    compiles: whether a program compiles before the first of it is done.

  Returns:
    The bar: call `update(n)`, `set_postfix_str(text)`, `close()`.
  """
  return Bar(
    desc=description,
    total=total,
    initial=done,
    unit=f" {unit}",
    unit_scale=True,
    disable=not shows,
    dynamic_ncols=True,
    smoothing=0.1,
    compiles=compiles,
  )


@contextlib.contextmanager
def waiting(
  what: str, shows: bool = True, *, total: int | None = None
) -> Iterator[Callable[[], None]]:
  """Says of what is done in it how long it takes, once that is `QUIET_SECONDS`.

  Args:
    what: is done, such as "compiling the attack".
    shows: False on all processes but one.
    total: how many parts it has; None if nobody knows.

  Yields:
    To be called when a part is done, if there are any.
  """
  ended, done = threading.Event(), 0

  def one() -> None:
    nonlocal done
    done += 1

  def tell() -> None:
    if ended.wait(QUIET_SECONDS):
      return
    shape = None if total else "{desc}: {elapsed}"
    # It counts from the beginning, and so is due at once.
    with Bar(
      desc=what, total=total, bar_format=shape, dynamic_ncols=True, delay=QUIET_SECONDS
    ) as bar:
      bar.start_t -= QUIET_SECONDS
      bar.refresh()
      while not ended.wait(0.5):
        bar.update(done - bar.n)
      bar.update(done - bar.n)

  teller = threading.Thread(target=tell, daemon=True)
  if shows:
    teller.start()
  try:
    yield one
  finally:
    ended.set()
    if shows:
      teller.join()


@contextlib.contextmanager
def stages() -> Iterator[Callable[[str], None]]:
  """Yields what is to be told the name of each stage as it begins: `waiting` for it."""
  with contextlib.ExitStack() as last:

    def begin(what: str) -> None:
      last.close()
      complain(what)
      last.enter_context(waiting(what))

    yield begin
