"""The table of a sweep's runs: in place on a terminal, line by line in a file."""

import dataclasses
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from robustjax.sweep.runs import Run

LINE_SECONDS = 30.0  # how often a log that is not a terminal gets a line of progress


@dataclasses.dataclass
class Member:
  """A run of the sweep and how it stands.

  Attributes:
    run: which.
    log: the file with what it printed.
    state: "waiting", "running", "done", "failed" or "stopped".
    detail: what there is to add: progress, result, error.
    status: the exit status of its process, once that has ended.
  """

  run: Run
  log: Path
  state: str = "waiting"
  detail: str = ""
  status: int = 0

  def cells(self) -> tuple[str, str, str]:
    """Its row of the table."""
    if self.state == "done":
      return self.run.name, self.state, self.detail
    # Why one failed is a long line, for the table at the end.
    detail = "" if self.state == "failed" else self.detail
    return self.run.name, ": ".join(filter(None, (self.state, detail))), ""


def table(rows: Sequence[Sequence[str]]) -> list[str]:
  """Lines of aligned columns; the first row is the header."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = [*rows[:1], ["-" * width for width in widths], *rows[1:]]
  return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


class Screen:
  """Shows the members: a table in place on a terminal, else a line for each change.

  Args:
    stream: where to.
  """

  HEADER = ("run", "state", "strongest attack")

  def __init__(self, stream: TextIO):
    self._stream = stream
    self._in_place = stream.isatty()
    self._drawn: list[str] = []
    self._printed: dict[str, str] = {}
    self._printed_at = 0.0

  def show(self, members: Sequence[Member], summary: str) -> None:
    """Shows how the members stand, if that has changed.

    Args:
      members: all of them, in their order.
      summary: a line below the table.
    """
    if self._in_place:
      self._draw(self._window(members), summary)
      return
    clock = time.monotonic()
    for member in members:
      if member.state == "waiting" and not member.detail:
        continue
      line = ": ".join(filter(None, (member.run.name, member.state, member.detail)))
      last = self._printed.get(member.run.name, "")
      news = not last.startswith(f"{member.run.name}: {member.state}")
      if line != last and (news or clock > self._printed_at + LINE_SECONDS):
        self._printed[member.run.name], self._printed_at = line, clock
        print(f"{line} ({summary})", file=self._stream, flush=True)

  def close(self, members: Sequence[Member], summary: str) -> None:
    """Leaves the whole table, and a table of what failed."""
    lines = table([self.HEADER, *(member.cells() for member in members)])
    failures = [
      (m.run.name, _status(m.status), str(m.log), m.detail)
      for m in members
      if m.state == "failed"
    ]
    if failures:
      lines += ["", *table([("failed", "exit status", "log", "error"), *failures])]
    self._erase()
    if not self._in_place:
      print(file=self._stream)
    print("\n".join([*lines, "", summary]), file=self._stream, flush=True)

  def _window(self, members: Sequence[Member]) -> list[str]:
    """The table, or the rows about the running one where all would not fit."""
    lines = table([self.HEADER, *(member.cells() for member in members)])
    room = max(1, shutil.get_terminal_size().lines - 6)
    if len(members) <= room:
      return lines
    ended = [member.state in ("done", "failed") for member in members]
    running = ended.index(False) if False in ended else 0
    first = max(0, min(running - room // 2, len(members) - room))
    rows = lines[2:][first : first + room]
    return [*lines[:2], *rows, f"... {len(members) - len(rows)} more"]

  def _draw(self, lines: list[str], summary: str) -> None:
    width = shutil.get_terminal_size().columns - 1  # a wrapped line would be two
    drawn = [line[:width] for line in [*lines, summary]]
    if drawn != self._drawn:
      self._erase()
      print("\n".join(drawn), file=self._stream, flush=True)
      self._drawn = drawn

  def _erase(self) -> None:
    if self._drawn:
      print(f"\x1b[{len(self._drawn)}F\x1b[J", end="", file=self._stream)
      self._drawn = []


def _status(status: int) -> str:
  return signal.Signals(-status).name if status < 0 else str(status)
