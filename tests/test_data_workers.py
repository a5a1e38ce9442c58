"""Worker processes: they change nothing in the batches."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from absl import flags
from data_batches import (
  assert_same,
  broken,
  evaluate,
  one_line,
  parsed_flags,  # noqa: F401
  toy,
  train,
)

from robustjax.data import sources, transforms, workers


def test_workers_change_nothing():
  source = sources.open_source("fashion_mnist_mini", split="train")
  transform = transforms.by_name("small", True, 28)
  # Seven batches: not a multiple of the number of workers.
  options = {"batch_size": 30, "first_step": 330, "last_step": 337}
  assert_same(
    train(source, transform, **options, workers=2), train(source, transform, **options)
  )


def test_workers_change_nothing_in_evaluation():
  source, options = broken(21, 5, 6), {"indices": range(2, 19), "batch_size": 4}
  options["skip_broken"] = True
  assert_same(evaluate(source, **options, workers=2), evaluate(source, **options))


def test_workers_without_flags_are_refused():
  flags.FLAGS.unparse_flags()
  with one_line("absl.app.run"):
    train(toy(2), workers=1)


def _number(step):
  time.sleep(0.05)
  return {"step": step, "pid": os.getpid()}


def test_workers_hear_no_signals_and_a_killed_one_is_a_line():
  batches = workers.prefetched(_number, 0, 400, 2)
  found = [next(batches) for _ in range(4)]
  pids = {batch["pid"] for batch in found}
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    for pid in pids:
      os.kill(pid, number)
  found += [next(batches) for _ in range(40)]
  assert [batch["step"] for batch in found] == list(range(44))
  assert {batch["pid"] for batch in found} == pids and os.getpid() not in pids
  os.kill(min(pids), signal.SIGKILL)
  with pytest.raises(workers.WorkerLost, match="a data worker was killed.*start again"):
    for _ in batches:
      pass
  batches.close()


@pytest.mark.thorough
def test_a_stopped_worker_is_named_and_ends_the_run(monkeypatch, capsys):
  monkeypatch.setattr(workers, "_PATIENCE", 0.5)
  batches = workers.prefetched(_number, 0, 400, 1)
  pid = next(batches)["pid"]
  os.kill(pid, signal.SIGSTOP)
  with pytest.raises(workers.WorkerLost, match=f"worker {pid} was stopped"):
    for _ in batches:
      pass
  batches.close()
  assert f"worker {pid} is stopped (kill -CONT {pid})" in capsys.readouterr().err


@pytest.mark.thorough
def test_workers_end_with_the_run_and_leave_no_memory():
  code = (
    "import os, signal, sys; from absl import flags;"
    "flags.FLAGS.mark_as_parsed(); sys.path.insert(0, 'tests');"
    "import test_data_workers as t; from robustjax.data import workers;"
    "b = workers.prefetched(t._large, 0, 400, 1); print(next(b)['pid'][0], flush=True);"
    "os.kill(os.getpid(), signal.SIGKILL)"
  )
  before = set(os.listdir("/dev/shm"))
  ran = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
  )
  pid, until = int(ran.stdout), time.monotonic() + 20
  while time.monotonic() < until and (
    os.path.exists(f"/proc/{pid}") or set(os.listdir("/dev/shm")) - before
  ):
    time.sleep(0.2)
  assert not os.path.exists(f"/proc/{pid}")
  assert not set(os.listdir("/dev/shm")) - before


def _large(step):
  return {"pid": np.full((1 << 20,), os.getpid())}
