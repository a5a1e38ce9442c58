"""The command in processes of its own: several at once, killed, and asked to stop."""

import json
import os
import signal
import time

import networks
import numpy as np
import pytest
from test_hosts_processes import ROOT, coordinator, ended, started  # noqa: F401

from robustjax.evaluation import ledger

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

ATTACKS = ["--attack=apgd-ce,apgd-t,fab-t,square", "--steps=5", "--queries=4000"]


@pytest.fixture(scope="module")
def evaluate(started, tmp_path_factory):  # noqa: F811
  """Starts an evaluation of the small network in a process of its own."""
  images = tmp_path_factory.mktemp("images") / "images.npz"
  np.savez(images, images=networks.IMAGES, labels=networks.LABELS)
  os.environ["PYTHONPATH"] = str(ROOT / "tests")

  def start(out, *words, devices=1):
    flags = [f"--data={images}", "--eps=6", "--batch_size=4", f"--out={out}", *ATTACKS]
    command = ["-m", "robustjax.evaluate", "networks:function", *flags, *words]
    return started(command, devices)

  yield start
  del os.environ["PYTHONPATH"]


def files(folder):
  names = (ledger.IMAGES, ledger.SUMMARY)
  assert not (folder / ledger.PROGRESS).exists()
  return [(folder / name).read_bytes() for name in names]


@pytest.fixture(scope="module")
def whole(evaluate, tmp_path_factory):
  folder = tmp_path_factory.mktemp("whole")
  ((status, _, err),) = ended([evaluate(folder, devices=8)])
  assert status == 0, err
  return files(folder)


def stage(folder):
  try:
    return json.loads((folder / ledger.PROGRESS).read_text())["state"]["stage"]
  except FileNotFoundError:
    return 0


def test_two_processes_leave_the_bytes_of_one(evaluate, whole, tmp_path):
  hosts = [f"--coordinator={coordinator()}", "--processes=2", "--wait=60"]
  both = [evaluate(tmp_path, *hosts, f"--process={i}", devices=4) for i in (0, 1)]
  first, second = ended(both)
  assert (first[0], second[0]) == (0, 0), (first, second)
  assert "robust" not in second[1] and "accuracy" in first[1]
  assert files(tmp_path) == whole


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_in_square_it_ends_in_the_same_bytes(evaluate, whole, tmp_path, how):
  square = 1 + 5 + 5 + 1  # the stages before it, with five targets each
  process = evaluate(tmp_path)
  while stage(tmp_path) < square:
    assert process.poll() is None
    time.sleep(0.01)
  time.sleep(0.3)
  process.send_signal(how)
  ((status, _, err),) = ended([process])
  assert status == (-9 if how == signal.SIGKILL else 143), err
  assert stage(tmp_path) == square
  ((status, _, err),) = ended([evaluate(tmp_path)])
  assert status == 0, err
  assert files(tmp_path) == whole
