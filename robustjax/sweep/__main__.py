"""Runs a list of settings, one after another; what is finished is skipped.

robustjax sweep {adv,mbn}:mini,pgd{5,10}
python -m robustjax.sweep --list=launch/mini_study.txt --runs=runs/mini_study

Each run is `python -m robustjax.main` with a folder of its own. One that fails is
reported at the end, and the others run all the same. A sweep that is stopped or killed
goes on where it was when the same command is given again.
"""

import argparse
import contextlib
import ctypes
import datetime
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from robustjax.errors import MISTAKE, STOPPED, Parser, UserError, line
from robustjax.runtime.paths import typed
from robustjax.sweep.runs import Run, check, read_list, run_of
from robustjax.sweep.screen import Member, Screen
from robustjax.sweep.standing import (
  error_line,
  is_begun,
  is_finished,
  is_held,
  progress,
  result,
)

COMMAND = (sys.executable, "-m", "robustjax.main")
FAILED = 1  # exit status

POLL_SECONDS = 0.5  # how often a run is looked at
# How long to wait for a process that still holds a run's folder, such as the run of a
# killed sweep, which saves before it ends.
PATIENCE_SECONDS = 60.0


class Sweep:
  """Runs the members one after another.

  Args:
    members: in their order.
    command: main, as the words before its flags.
    screen: where it shows.
    patience: how many seconds to wait for a process that holds a run's folder.
  """

  def __init__(
    self,
    members: Sequence[Member],
    command: Sequence[str],
    screen: Screen,
    patience: float,
  ):
    self._members, self._command = members, command
    self._screen, self._patience = screen, patience
    self._child: subprocess.Popen[bytes] | None = None
    self._stopping = False
    self._began = 0.0  # when the running one did
    self._seconds: list[float] = []  # of the runs that this sweep did from the start

  def work(self) -> int:
    """Does what is left to do.

    Returns:
      The exit status: 0 all runs are done, 1 some failed, 143 it was told to stop.
    """
    self._listen()
    for member in self._members:  # so that the table shows them from the beginning
      if is_finished(member.run):
        member.state, member.detail = "done", result(member.run.workdir)
    for member in self._members:
      if member.state == "waiting":
        self._finish(member)
    stopped = any(m.state in ("waiting", "stopped") for m in self._members)
    again = "; the same command goes on from there" if stopped else ""
    self._screen.close(self._members, self._counts() + again)
    if stopped:
      return STOPPED
    return FAILED if any(m.state == "failed" for m in self._members) else 0

  def _listen(self) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
      if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
        signal.signal(number, self._stop)

  def _stop(self, number: int, frame: FrameType | None) -> None:
    # Nothing is printed here: the signal may have come in the middle of a print.
    again, self._stopping = self._stopping, True
    if self._child and again and number == signal.SIGINT:
      with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.killpg(self._child.pid, signal.SIGKILL)
    elif self._child:
      self._child.terminate()

  def _finish(self, member: Member) -> None:
    """Brings one run to its end, unless the sweep is to stop."""
    self._wait_for_folder(member)
    if self._stopping:
      return
    if is_finished(member.run):  # by the process that held it
      member.state, member.detail = "done", result(member.run.workdir)
      return
    afresh, self._began = not is_begun(member.run), time.monotonic()
    start = self._run(member)
    if member.status == 0:
      member.state, member.detail = "done", result(member.run.workdir)
      self._seconds += [time.monotonic() - self._began] if afresh else []
    elif self._stopping and member.status in (
      STOPPED, -signal.SIGTERM, -signal.SIGKILL,
    ):  # fmt: skip
      member.state, member.detail = "stopped", ""
    else:
      member.state, member.detail = "failed", error_line(member.log, start)
    self._show()

  def _wait_for_folder(self, member: Member) -> None:
    deadline = time.monotonic() + self._patience
    while is_held(member.run.workdir) and not self._stopping:
      if time.monotonic() > deadline:
        break  # main will say in its own words who is in the way
      member.detail = f"another process is at work in {member.run.workdir}"
      self._show()
      time.sleep(POLL_SECONDS)
    member.detail = ""

  def _run(self, member: Member) -> int:
    """Runs main to its end; returns where in the log this start begins."""
    command = [*self._command, *member.run.flags]
    with member.log.open("ab") as log:
      date = datetime.datetime.now().isoformat(" ", "seconds")
      log.write(f"\n$ {shlex.join(command)}  # {date}\n".encode())
      log.flush()
      start = log.tell()
      # In a session of its own: a Ctrl-C at the terminal is for the sweep, which
      # passes it on as SIGTERM.
      self._child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        start_new_session=True, preexec_fn=_end_with_the_sweep,
      )  # fmt: skip
    try:
      if self._stopping:  # the signal came before there was a child to pass it to
        self._child.terminate()
      member.state = "running"
      while self._is_running():
        member.detail = progress(member.log, start) or "starting"
        self._show()
    except BaseException:
      self._child.terminate()
      raise
    finally:
      member.status = self._child.wait()
      self._child = None
    return start

  def _is_running(self) -> bool:
    assert self._child
    try:
      self._child.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
      return True
    return False

  def _show(self) -> None:
    summary = self._counts()
    if self._stopping and self._child:
      summary += "; stopping as soon as the run has saved; Ctrl-C again kills it"
    elif self._seconds:
      mean = sum(self._seconds) / len(self._seconds)
      left = mean * sum(member.state == "waiting" for member in self._members)
      if self._child:
        left += max(0.0, mean - (time.monotonic() - self._began))
      if left:
        summary += f"; about {datetime.timedelta(seconds=round(left))} left"
    self._screen.show(self._members, summary)

  def _counts(self) -> str:
    states = [member.state for member in self._members]
    failed = f", {states.count('failed')} failed" if "failed" in states else ""
    return f"{states.count('done')} of {len(states)} done{failed}"


def _end_with_the_sweep() -> None:
  """In a child, before main begins: asks for SIGTERM once the sweep has died."""
  if sys.platform == "linux":
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def parser() -> Parser:
  """The flags."""
  made = Parser(
    "robustjax sweep",
    usage="%(prog)s [SETTING ...] [--list=FILE] [--runs=DIR] [--dry_run]"
    "\n                       [--config.section.name=value ...]",
    description="Runs settings one after another and skips what is finished.",
    epilog="--config.section.name=value is for all runs. Exit status: 0 all runs are"
    " done, 1 some failed, 2 a mistake, 143 stopped by a signal.",
  )
  add = made.add_argument
  add(
    "settings", nargs="*", metavar="SETTING", help="such as adv:mini, or FILE.py:mini"
  )
  add(
    "--list",
    type=typed,
    metavar="FILE",
    help="a line a run: the setting and its --config.section.name=value, --name=NAME,"
    " --workdir=DIR; # begins a comment",
  )
  add(
    "--runs",
    type=typed,
    default=Path("runs"),
    metavar="DIR",
    help="where the runs' folders go, and their logs in DIR/logs; default: runs",
  )
  add("--dry_run", action="store_true", help="say what would be done, and do nothing")
  return made


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[Run]]:
  """The flags, and the runs that they ask for, checked.

  Raises:
    UserError: one line that names what is wrong.
  """
  shared = [word for word in argv if word.startswith("--config.")]
  known = parser().parse_intermixed_args([w for w in argv if w not in shared])
  lines = [[setting] for setting in known.settings]
  lines += read_list(known.list) if known.list else []
  if not lines:
    raise UserError("nothing to run: name a setting, such as adv:mini, or --list=FILE")
  runs = [run_of(words, shared, known.runs) for words in lines]
  check(runs)
  return known, runs


def _plan(run: Run, command: Sequence[str]) -> str:
  """A run's command, and what it would do."""
  begun = "resume" if is_begun(run) else "run"
  todo = "done" if is_finished(run) else begun
  return f"{shlex.join([*command, *run.flags])}  # {todo}"


def main(
  argv: Sequence[str] | None = None,
  command: Sequence[str] = COMMAND,
  patience: float = PATIENCE_SECONDS,
) -> int:
  """The command line.

  Args:
    argv: `sys.argv` without the program if None.
    command: what runs one setting, as the words before its flags.
    patience: how many seconds to wait for a process that holds a run's folder.

  Returns:
    The exit status.
  """
  try:
    known, runs = parse(sys.argv[1:] if argv is None else argv)
    if known.dry_run:
      try:
        print("\n".join(_plan(run, command) for run in runs), flush=True)
      except BrokenPipeError:  # as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
      return 0
    logs = known.runs / "logs"
    try:
      logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise UserError(f"{logs} cannot be made: {error.strerror}") from error
  except UserError as error:
    print(f"error: {line(error)}", file=sys.stderr)
    return MISTAKE
  print(
    f"To watch them: tensorboard --logdir={shlex.quote(str(known.runs))}; their logs:"
    f" {logs}",
    flush=True,
  )
  members = [Member(run, logs / f"{run.name}.log") for run in runs]
  return Sweep(members, command, Screen(sys.stdout), patience).work()


if __name__ == "__main__":
  sys.exit(main())
