"""A stand-in gcloud that plays a script, for the tests of launch/tpu.sh."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[1]
FAKE = Path(__file__).with_name("fake_gcloud.py")
TOOLS = (
  *("setsid", "timeout"),
  *("awk", "bash", "basename", "cat", "chmod", "curl", "date", "dirname", "env", "git"),
  *("grep", "hostname", "kill", "mkdir", "mktemp", "mv", "rm", "sed", "sleep", "sort"),
  *("tail", "tar", "touch", "tr"),
)
FLAGS = ("--type=v5litepod-16", "--bucket=gs://mine/", "--hours=5", "--zone=us-west4-a")
HOSTILE = '--config.name=it\'s $(touch pwned) `id` "x" \\n ; rm -rf * & |'


class Cloud:
  """A copy of the project in a repository of its own, and a gcloud that plays a script.

  Args:
    folder: for all of it.
    repository: to copy.
  """

  def __init__(self, folder: Path, repository: Path):
    self.repo, self.home, self._bin = (folder / n for n in ("repo", "gcloud", "bin"))
    for made in (self.home / "slices", self.home / "tmp", self._bin):
      made.mkdir(parents=True)
    shutil.copytree(repository, self.repo)
    for tool in TOOLS:
      found = shutil.which(tool)
      if found:
        (self._bin / tool).symlink_to(found)
    self.stub("python3", f'exec {sys.executable} "$@"')
    self.stub("gcloud", f'exec {sys.executable} -I -S {FAKE} "$@"')
    self.script()

  def stub(self, name: str, text: str) -> None:
    """Puts a command in the only folder of PATH."""
    (self._bin / name).unlink(missing_ok=True)
    (self._bin / name).write_text(f"#!/bin/bash\n{text}\n")
    (self._bin / name).chmod(0o755)

  def remove(self, name: str) -> None:
    (self._bin / name).unlink()

  def script(self, **answers: Sequence[str | Mapping[str, Any]]) -> None:
    """What gcloud answers, in turn, by the kind of call."""
    (self.home / "script.json").write_text(json.dumps(answers))

  @property
  def environment(self) -> dict[str, str]:
    return {
      "PATH": str(self._bin),
      "HOME": str(self.home),
      "FAKE_GCLOUD": str(self.home),
      "TMPDIR": str(self.home / "tmp"),
      "TPU_POLL_SECONDS": "0.01",
      "LANG": "C.UTF-8",
    }

  def start(self, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
      ["launch/tpu.sh", *words], cwd=self.repo, env=self.environment, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip

  def run(self, *words: str, status: int = 0) -> str:
    """What the command prints; its exit status is checked."""
    process = self.start(*words)
    try:
      printed, _ = process.communicate(timeout=60)
    finally:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == status, printed
    return printed

  def calls(self) -> list[list[str]]:
    """Each call: its kind, and its words."""
    path = self.home / "calls.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]  # whole lines alone

  def kinds(self, *wanted: str) -> list[str]:
    """The kinds of the calls, in their order; those that are wanted, or all."""
    return [call[0] for call in self.calls() if not wanted or call[0] in wanted]

  def left(self) -> list[str]:
    """The slices that exist."""
    return sorted(path.name for path in (self.home / "slices").iterdir())

  def wait_for(self, kind: str, times: int = 1) -> None:
    """Until there were so many calls of this kind."""
    deadline = time.monotonic() + 30
    while len(self.kinds(kind)) < times:
      assert time.monotonic() < deadline, self.kinds()
      time.sleep(0.01)


def commit(repo: Path) -> None:
  """Commits all there is."""
  git = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "gc.auto=0")
  subprocess.run([*git, "add", "."], cwd=repo, check=True)
  subprocess.run([*git, "commit", "--quiet", "--message=x"], cwd=repo, check=True)


def words_of(call: Sequence[str]) -> list[str]:
  """The words that a worker's shell makes of an ssh call's command."""
  command = next(w for w in call if w.startswith("--command="))
  return shlex.split(command.removeprefix("--command="))
