"""A tiny run: started, killed, ended, and compared with one that nothing disturbed.

A start is a fork of this process, which has imported everything and computes nothing:
what follows is what a new process does, without the seconds of its imports.
"""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORDS = [
  f"--config={ROOT}/experiments/mbn_alp.py:mini",
  "--config.model.width=4",
  "--config.model.stages=(1,)",
  "--config.model.group=8",
  "--config.attack.steps=1",
  "--config.train.epochs=0.08",  # STEPS of 64 images
  "--config.train.save_every_epochs=0.02",
  "--config.train.log_every_steps=1",
  "--config.train.validation_images=40",
  "--config.eval.readings=(4,)",
  "--config.eval.images=96",
  "--config.eval.batch_size=24",
  "--config.eval.attack=apgd-ce",
  "--config.eval.attack_images=48",
]
STEPS = 12
SECONDS = 600.0  # a start that takes longer hangs, also on a busy machine
# What an interrupted run must leave as an uninterrupted one does.
SAME = (
  "config.json", "metrics.jsonl", "evaluation.json", "evaluations/*/images.jsonl",
  "evaluations/*/summary.json", "statistics.json", "examples.npz", "*.png",
)  # fmt: skip


@dataclasses.dataclass
class Start:
  """One start of a run, as one or several processes.

  Attributes:
    pids: of the processes, that of process 0 first.
    logs: what each said.
    begun: when, by the monotonic clock.
    statuses: as each ended; negative is a signal.
    ended: when the last that has ended was seen to.
  """

  pids: list[int]
  logs: list[Path]
  begun: float
  statuses: dict[int, int] = dataclasses.field(default_factory=dict)
  ended: float = 0.0

  def alive(self) -> bool:
    """Whether process 0 is."""
    self._collect()
    return self.pids[0] not in self.statuses

  def kill(self, number: int = signal.SIGKILL) -> None:
    """Sends a signal to all."""
    for pid in self.pids:
      with contextlib.suppress(ProcessLookupError):
        if pid not in self.statuses:
          os.kill(pid, number)

  def end(self, seconds: float = SECONDS) -> int:
    """The status of process 0 when all have ended; those that hang are killed."""
    until = time.monotonic() + seconds
    while len(self.statuses) < len(self.pids):
      if time.monotonic() > until:
        self.kill()
        seconds = until = float("inf")
        self.logs[0].open("a").write("\nHUNG\n")
      self._collect()
      time.sleep(0.01)
    return self.statuses[self.pids[0]]

  def seconds(self) -> float:
    """From the start to the end."""
    return self.ended - self.begun

  def said(self) -> str:
    """What all said, without what bars and libraries draw."""
    return "\n".join(log.read_text(errors="replace") for log in self.logs)

  def told(self) -> list[str]:
    """The lines that end in a refusal."""
    return [x for x in self.said().splitlines() if x.startswith("error: ")]

  def _collect(self) -> None:
    for pid in set(self.pids) - set(self.statuses):
      found, status = os.waitpid(pid, os.WNOHANG)
      if found:
        self.statuses[pid] = os.waitstatus_to_exitcode(status)
        self.ended = time.monotonic()


def start(
  workdir: Path,
  processes: int = 1,
  logs: Path | None = None,
  meet: int = 0,
  late: float = 0.0,
) -> Start:
  """Begins the run in a folder, or goes on with it.

  Args:
    workdir: the folder.
    processes: how many.
    logs: where what they say goes, if not beside the folder.
    meet: the port where they meet, if it is not any.
    late: how many seconds each waits for the one before to start.
  """
  argv = ["robustjax", *WORDS, f"--workdir={workdir}"]
  beside = logs or workdir.parent
  said = [beside / f"{workdir.name}.{i}.log" for i in range(processes)]
  if processes > 1:
    argv += [f"--coordinator=127.0.0.1:{meet or port()}", f"--processes={processes}"]
  each = [[f"--process={i}"] if processes > 1 else [] for i in range(processes)]
  started = Start([], said, time.monotonic())
  for log, own in zip(said, each, strict=True):
    time.sleep(late if started.pids else 0.0)
    started.pids.append(forked(lambda own=own: main([*argv, *own]), log))
  return started


def main(argv: Sequence[str]) -> int:
  from robustjax import main as robustjax

  sys.argv = list(argv)
  return robustjax.main()


def forked(work: Callable[[], int | None], log: Path) -> int:
  """The id of a new process that does some work, and writes what it says to a file."""
  pid = os.fork()
  if pid:
    return pid
  status = 1
  try:
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT):  # nohup and shells have them ignored
      signal.signal(number, signal.SIG_DFL)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    status = work() or 0
  except BaseException:
    sys.excepthook(*sys.exc_info())
  finally:
    with contextlib.suppress(OSError, ValueError):
      sys.stdout.flush()
      sys.stderr.flush()
    os._exit(status)


def port() -> int:
  """A free one."""
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    number: int = free.getsockname()[1]
    return number


def differences(workdir: Path, whole: Path) -> list[str]:
  """The files that two runs should have alike, and have not."""
  names = {p.relative_to(d) for d in (whole, workdir) for s in SAME for p in d.glob(s)}
  return sorted(
    str(name)
    for name in names
    if not all((d / name).is_file() for d in (whole, workdir))
    or (whole / name).read_bytes() != (workdir / name).read_bytes()
  )


def ended_well(started: Start, workdir: Path, whole: Path) -> str:
  """Why a start did not end as an undisturbed one; "" if it did."""
  status = started.end()
  if status:
    return f"status {status}: {started.said()[-300:]}"
  if different := differences(workdir, whole):
    return f"other bytes: {', '.join(different)}"
  return ""


def copied(folder: Path, to: Path) -> Path:
  """A copy of a run's folder, in the place of what was there."""
  shutil.copytree(folder, gone(to), symlinks=True)
  return to


def gone(folder: Path) -> Path:
  """A folder's path, after it was removed if it was there."""
  shutil.rmtree(folder, ignore_errors=True)
  return folder


def until(started: Start, condition: Callable[[], bool]) -> bool:
  """Waits while a start goes on; whether the condition came before its end."""
  while started.alive():
    if condition():
      return True
    if time.monotonic() > started.begun + SECONDS:
      return False
    time.sleep(0.002)
  return False


def saved(workdir: Path) -> int:
  """The last step that has a checkpoint."""
  names = (p.name for p in workdir.glob("checkpoints/*"))
  return max((int(name) for name in names if name.isdigit()), default=0)


def lost(workdir: Path) -> int:
  """How many steps were recorded after the last that has a checkpoint."""
  path, last = workdir / "metrics.jsonl", 0
  for line in path.read_text().splitlines() if path.exists() else ():
    with contextlib.suppress(ValueError):  # a kill or a full disk cut it short
      last = max(last, json.loads(line)["step"])
  return max(0, last - saved(workdir))


def went_on_from(said: str, had: int) -> int:
  """The step that a start went on from, by its words; all it had, if by none."""
  found = re.search(r" goes on from step (\d+) of ", said)
  return int(found[1]) if found else 0 if " steps to go;" in said else had


def each_file(workdir: Path) -> Iterator[Path]:
  """The files of a run, in order."""
  yield from sorted(p for p in workdir.rglob("*") if p.is_file())
