"""How long the demo's command takes to its first step, compiled anew and from a cache.

What is timed is the command as a person starts it, until its record of the first step
is on the disk; then it is ended.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LIMIT = 600  # seconds
_COMMAND = (
  "-m",
  "robustjax.main",
  "--config=experiments/mbn_alp.py:mini",
  "--config.train.log_every_steps=1",
)


def to_first_step(folder: Path, cache: Path) -> float:
  """Seconds to the first step of a new run.

  Args:
    folder: of the run, which is not there yet.
    cache: of the user, where compiled programs are kept.

  Raises:
    SystemExit: it ended without one, or took too long; with its last lines.
  """
  environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
  environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # the default, as users have it
  metrics = folder / "metrics.jsonl"
  with tempfile.TemporaryFile("w+") as output:
    start = time.perf_counter()
    process = subprocess.Popen(
      [sys.executable, *_COMMAND, f"--workdir={folder}"],
      stdout=output,
      stderr=output,
      env=environment,
    )
    try:
      while not _has_record(metrics):
        if process.poll() is not None or time.perf_counter() - start > LIMIT:
          output.seek(0)
          tail = "".join(output.readlines()[-12:])
          raise SystemExit(f"{tail}error: the demo made no step in {LIMIT} s")
        time.sleep(0.02)
      return time.perf_counter() - start
    finally:
      process.kill()
      process.wait()


def _has_record(metrics: Path) -> bool:
  try:
    first, ended, _ = metrics.read_text().partition("\n")
  except OSError:
    return False
  return bool(ended) and json.loads(first)["step"] == 1


def measure(rounds: int, after: Callable[[], None]) -> dict[str, list[float]]:
  """Seconds with an empty cache and with a full one, by round.

  Args:
    rounds: how often, each with a cache of its own.
    after: called after each of two starts a round.
  """
  found: dict[str, list[float]] = {"cold": [], "warm": []}
  for _ in range(rounds):
    with tempfile.TemporaryDirectory() as folder:
      for name, seconds in found.items():
        seconds.append(to_first_step(Path(folder) / name, Path(folder) / "cache"))
        after()
  return found
