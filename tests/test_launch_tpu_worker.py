"""What launch/tpu.sh puts on a slice: the workers' script, and its watchdog."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
HOSTILE = '--config.name=it\'s $(touch pwned) `id` "x" \\n ; rm -rf * & |'


class Worker:
  """worker.sh beside a Python that does what a test says.

  Args:
    folder: for all of it.
  """

  def __init__(self, folder: Path):
    self.code, self.state = folder / "code", folder / "state"
    shutil.copytree(REPO / "launch", self.code / "launch")
    self._environment = {
      **os.environ,
      "ROBUSTJAX_STATE": str(self.state),
      "ROBUSTJAX_ALIVE": str(folder / "alive"),
      "ROBUSTJAX_WATCHDOG": str(folder / "watchdog"),
      "ROBUSTJAX_MOUNT": str(folder / "bucket"),
    }
    self.alive = folder / "alive"

  def python(self, text: str) -> None:
    """What .venv/bin/python does, in bash."""
    path = self.code / ".venv/bin/python"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)

  def __call__(self, *words: str) -> str:
    return subprocess.run(
      ["bash", self.code / "launch/tpu/worker.sh", *words],
      env=self._environment, check=True, capture_output=True, text=True, timeout=30,
    ).stdout  # fmt: skip

  def status(self) -> str:
    return self("status", "a").split()[2]

  def wait(self) -> str:
    """The exit status, once there is one."""
    deadline = time.monotonic() + 20
    while self.status() == "running":
      assert time.monotonic() < deadline
      time.sleep(0.02)
    return self.status()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
  made = Worker(tmp_path)
  yield made
  made("stop", "0")


@pytest.mark.toolchain
def test_a_worker_keeps_the_exit_status_and_the_log(worker: Worker) -> None:
  worker.python('printf "<%s>" "$@"; echo " $JAX_PLATFORMS"; exit 2')
  assert worker.status() == "none"
  worker("start", "a", "--config=x", HOSTILE)
  assert worker.wait() == "2"
  log = f"<-m><robustjax.main><--config=x><{HOSTILE}> tpu,cpu\n"
  assert worker("follow", "a") == log
  assert worker.alive.exists()
  worker.python("exit 0")
  worker("start", "a")
  assert worker.wait() == "0"


def test_a_command_that_is_repeated_starts_no_second_run(worker: Worker) -> None:
  worker.python("echo begun; sleep 1")
  worker("start", "a")
  worker("start", "a")
  assert worker.wait() == "0"
  assert worker("follow", "a") == "begun\n"


@pytest.mark.toolchain
def test_a_worker_lets_its_run_save(worker: Worker) -> None:
  worker.python(
    'trap "sleep 2; echo saved; exit 143" TERM; echo up; while sleep 0.05; do :; done'
  )
  worker("start", "a")
  while not (worker.state / "a.log").read_text():
    time.sleep(0.02)
  assert worker.status() == "running"
  worker("stop")
  assert worker.status() == "143" and worker("follow", "a") == "up\nsaved\n"


@pytest.mark.toolchain
def test_a_run_that_does_not_stop_is_killed(worker: Worker) -> None:
  worker.python('trap "" TERM; echo $$; while sleep 0.05; do :; done')
  worker("start", "a")
  while not (worker.state / "a.log").read_text():
    time.sleep(0.02)
  worker("stop", "1")
  assert worker.wait() == "none"
  pid = int((worker.state / "a.log").read_text())
  until = time.monotonic() + 10
  with pytest.raises(ProcessLookupError):
    while time.monotonic() < until:
      os.kill(pid, 0)
      time.sleep(0.02)


def test_an_installation_mounts_and_pins(worker: Worker, tmp_path: Path) -> None:
  stubs = tmp_path / "stubs"
  stubs.mkdir()
  for name in ("sudo", "gcsfuse", "mountpoint", "python3"):
    path = stubs / name
    path.write_text(
      f'#!/bin/bash\necho {name} "$@" >>{tmp_path}/log\n[[ {name} != mountpoint ]]\n'
    )
    path.chmod(0o755)
  os.makedirs(tmp_path / "bucket")
  (worker.code / "requirements.lock").write_text("jax==1.2.3 \\\n    --hash=x\n")
  worker._environment["PATH"] = f"{stubs}:{os.environ['PATH']}"
  assert "does not watch itself" in worker("install", "mine")
  log = (tmp_path / "log").read_text()
  mounts = [x for x in log.splitlines() if x.startswith("gcsfuse ")]
  assert [x.split()[-2:] for x in mounts] == [
    ["mine", f"{tmp_path}/bucket"], ["mine", f"{tmp_path}/bucket-data"],
  ]  # fmt: skip
  assert "-o ro" in mounts[1] and "--metadata-cache-ttl-secs=0 " in mounts[0]
  assert "jax[tpu]==1.2.3" in log and "--require-hashes -r requirements.lock" in log
  assert (worker.code / "runs").resolve() == tmp_path / "bucket/runs"
  (tmp_path / "watchdog").mkdir()
  (tmp_path / "watchdog/born").touch()
  assert "note:" not in worker("install", "mine")
  (tmp_path / "watchdog/blind").touch()
  assert "roles/tpu.admin" in worker("install", "mine")


def test_what_is_mounted_is_left_alone(worker: Worker, tmp_path: Path) -> None:
  stubs = tmp_path / "stubs"
  stubs.mkdir()
  for name in ("sudo", "gcsfuse", "fusermount", "mountpoint", "python3"):
    path = stubs / name
    path.write_text(f'#!/bin/bash\necho {name} "$@" >>{tmp_path}/log\n')
    path.chmod(0o755)
  os.makedirs(tmp_path / "bucket")
  (worker.code / "requirements.lock").write_text("jax==1.2.3\n")
  worker._environment["PATH"] = f"{stubs}:{os.environ['PATH']}"
  worker("install", "mine")
  log = (tmp_path / "log").read_text()
  assert log.count("mountpoint -q") == 2
  assert not any(f"{word} " in log for word in ("sudo mkdir", "gcsfuse", "fusermount"))


def test_a_number_that_is_another_process_now_is_left_alone(worker: Worker) -> None:
  worker.state.mkdir()
  other = subprocess.Popen(["sleep", "60"], start_new_session=True)
  (worker.state / "a.pid").write_text(str(other.pid))
  assert worker.status() == "none"
  worker("stop", "0")
  assert other.poll() is None
  other.kill()
  other.wait()


def watchdog(
  folder: Path, worker: str = "0", limit: int = 1000, idle: int = 1000, age: int = 0,
  seconds: float = 20,
) -> list[str]:  # fmt: skip
  """Runs a slice's watchdog for so many seconds; its calls to delete, which end it."""
  for name, text in {
    "curl": f"echo {worker}",
    "gcloud": f'[[ $4 == delete ]] || exit; echo "$@" >>{folder}/log; kill $PPID',
  }.items():
    (folder / name).write_text(f"#!/bin/bash\n{text}\n")
    (folder / name).chmod(0o755)
  alive, log = folder / "alive", folder / "log"
  environment = {
    "PATH": f"{folder}:{os.environ['PATH']}", "WATCHDOG_STATE": str(folder / "state"),
    "WATCHDOG_ALIVE": str(alive), "WATCHDOG_SECONDS": "0.2",
  }  # fmt: skip
  values = f"name=n project=p zone=z limit={limit} idle={idle}\n"
  text = values + (REPO / "launch/tpu/watchdog.sh").read_text()
  process = subprocess.Popen(
    ["bash", "-c", text], env=environment, start_new_session=True
  )
  process.wait(timeout=10)  # its loop goes on
  until = time.monotonic() + seconds
  while time.monotonic() < until and not log.exists():
    if alive.exists() and time.time() - alive.stat().st_mtime < age:
      os.utime(alive, (time.time() - age, time.time() - age))
    time.sleep(0.02)
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, signal.SIGKILL)
  return log.read_text().splitlines() if log.exists() else []


def test_an_idle_slice_deletes_itself(tmp_path: Path) -> None:
  (call,) = watchdog(tmp_path, idle=60, age=61)
  assert call.startswith("compute tpus queued-resources delete n --project=p --zone=z")
  assert "--force --quiet" in call


def test_a_slice_has_its_time_also_after_a_restart(tmp_path: Path) -> None:
  (tmp_path / "state").mkdir()
  (tmp_path / "state/born").write_text(f"{time.time() - 61:.0f}")
  assert watchdog(tmp_path, limit=60)


def test_a_slice_at_work_is_left_alone(tmp_path: Path) -> None:
  assert not watchdog(tmp_path, age=50, idle=61, seconds=1)


def test_only_the_first_worker_watches(tmp_path: Path) -> None:
  assert not watchdog(tmp_path, worker="3", idle=-1, seconds=1)
