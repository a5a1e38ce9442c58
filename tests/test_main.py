"""The main job as a person runs it: to the end, again, and killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robustjax import main
from robustjax.hosts.processes import Hosts

ROOT = Path(__file__).parents[1]
TINY = [
  "--config=experiments/mbn_alp.py:mini,star",
  "--config.model.width=4",
  "--config.model.stages=(1,1)",
  "--config.attack.steps=2",
  "--config.train.epochs=0.2",  # 31 steps of 64 images
  "--config.train.save_every_epochs=0.05",
  "--config.train.log_every_steps=1",
  "--config.train.running_statistics_epochs=0.05",
  "--config.train.validation_images=40",
  "--config.eval.readings=(4,8,20)",
  "--config.eval.images=77",
  "--config.eval.attack=",
  "--config.eval.batch_size=20",
]


@pytest.fixture(scope="module")
def start():
  """Starts the tiny run in a workdir."""

  def started(workdir, *words, config=TINY[0]):
    flags = [config, *TINY[1:], f"--workdir={workdir}", *words]
    return subprocess.Popen(
      [sys.executable, "-m", "robustjax.main", *flags],
      cwd=ROOT, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip

  return started


@pytest.fixture(scope="module")
def finished(start, tmp_path_factory):
  """The workdir of an uninterrupted run and what it printed."""
  workdir = tmp_path_factory.mktemp("whole")
  process = start(workdir)
  out, err = process.communicate(timeout=600)
  assert process.returncode == 0, err
  return workdir, out, err


def evaluation(workdir):
  return json.loads((workdir / "evaluation.json").read_text())


def saved_digests(workdir, step):
  files = (workdir / f"checkpoints/{step}").rglob("_CHECKPOINT_METADATA")
  (metadata,) = (json.loads(f.read_text()) for f in files if "sha256" in f.read_text())
  return metadata["custom_metadata"]["sha256"]


@pytest.mark.slow
def test_it_leaves_the_files_it_promises(finished):
  workdir, out, err = finished
  found = evaluation(workdir)
  assert found["step"] == 31
  keys = ("branch", "attack", "steps", "step_size", "eps", "images")
  rows = [tuple(row[k] for k in keys) for row in found["rows"]]
  assert rows == [
    (branch, *row, 77)
    for branch in ("clean", "adv")
    for row in (
      ("none", 0, 0.0, 0.0),
      ("pgd", 4, 8.0, 32.0),
      ("pgd", 8, 4.0, 32.0),
      ("pgd", 20, 2.0, 32.0),
    )
  ]
  for row in found["rows"]:
    assert row["accuracy"] == row["correct"] / 77 and 0 <= row["target_hits"] <= 77
  for worst in found["worst_case"]:
    attacked = (r for r in found["rows"] if r["attack"] == "pgd")
    counts = [r["correct"] for r in attacked if r["branch"] == worst["branch"]]
    assert worst["correct"] <= min(counts)
  records = [
    json.loads(x) for x in (workdir / "metrics.jsonl").read_text().splitlines()
  ]
  steps = [r["step"] for r in records if r["split"] == "train"]
  assert steps == list(range(1, 32))
  assert {r["step"] for r in records if r["split"] == "validation"} == {8, 16, 24, 31}
  assert json.loads((workdir / "config.json").read_text())["attack"]["steps"] == 2
  pictures = ("evaluation.png", "statistics.png", "examples.png")
  assert all((workdir / name).stat().st_size > 10000 for name in pictures)
  statistics = json.loads((workdir / "statistics.json").read_text())
  assert statistics["step"] == 31 and (workdir / "examples.npz").exists()
  assert "PGD-20" in out and "worst case" in out and "images/s" in err


@pytest.mark.slow
def test_run_again_says_that_it_is_complete(start, finished):
  workdir, out, _ = finished
  before = {p: p.stat().st_mtime_ns for p in workdir.rglob("*")}
  process = start(workdir)
  again, _ = process.communicate(timeout=120)
  assert process.returncode == 0 and "This run is complete" in again
  table = out[out.index("branch ") : out.index("Picture")].strip()
  assert table in again
  assert {p: p.stat().st_mtime_ns for p in workdir.rglob("*")} == before


@pytest.mark.slow
@pytest.mark.thorough
def test_fine_tuning_moves_the_norms_of_a_finished_run_alone(start, finished, tmp_path):
  source, tuned = finished[0], tmp_path / "tuned"
  config = "--config=experiments/bn_finetune.py:to_adv,mini"
  words = ["--config.model.norm=mbn", "--config.loss.clean_ratio=1.0"]
  process = start(tuned, f"--config.init.run={source}", *words, config=config)
  _, err = process.communicate(timeout=600)
  assert process.returncode == 0, err
  before, after = saved_digests(source, 31), saved_digests(tuned, 31)
  params = [path for path in after if path.startswith("params/")]
  for path in params:
    is_norm = {"clean", "adv"} & set(path.split("/"))
    assert (before[path] != after[path]) == bool(is_norm), path
  # What a look at the run had left is made again where it is missing.
  path = tuned / "examples.npz"
  content = path.read_bytes()
  path.unlink()
  process = start(tuned, f"--config.init.run={source}", *words, config=config)
  out, _ = process.communicate(timeout=120)
  assert process.returncode == 0 and "This run is complete" in out
  assert path.read_bytes() == content


def test_a_look_is_into_the_step_that_was_evaluated_or_into_none(monkeypatch, tmp_path):
  asked = []
  monkeypatch.setattr(main.start, "finished", lambda *_: {"step": 7})
  monkeypatch.setattr(main.whole, "look", lambda *_: None)
  monkeypatch.setattr(main.inspection, "is_whole", lambda *_: False)
  monkeypatch.setattr(main.saved, "restore", lambda *args: asked.append(args[3:]))
  monkeypatch.setattr(main, "_show", lambda *_: None)
  main.run(None, tmp_path, Hosts())
  assert asked == [(7,)]


def test_fine_tuning_from_nothing_is_one_line(start, tmp_path):
  config = "--config=experiments/bn_finetune.py:to_adv,mini"
  missing = tmp_path / "missing"
  process = start(tmp_path / "run", f"--config.init.run={missing}", config=config)
  _, err = process.communicate(timeout=120)
  (line,) = err.splitlines()
  assert process.returncode == 2 and f"{missing}, which this run starts from" in line
  assert not (tmp_path / "run").exists()


def lines(path):
  return path.read_text().count("\n") if path.exists() else 0


def in_training(workdir):
  return lines(workdir / "metrics.jsonl") >= 12


def in_the_running_statistics_phase(workdir):
  return lines(workdir / "metrics.jsonl") >= 29


def in_evaluation(workdir):
  return (workdir / "evaluation.progress.json").exists()


@pytest.mark.slow
def test_stopped_anywhere_and_started_again_it_ends_in_the_same_bytes(
  start, finished, tmp_path
):
  for number, when in (
    (signal.SIGKILL, in_training),
    (signal.SIGTERM, in_the_running_statistics_phase),
    (signal.SIGKILL, in_evaluation),
  ):
    process = start(tmp_path, "--profile=2")
    deadline = time.monotonic() + 300
    while not when(tmp_path):
      assert process.poll() is None and time.monotonic() < deadline
      time.sleep(0.002)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == (143 if number == signal.SIGTERM else -9), err
    assert not (tmp_path / "evaluation.json").exists()
    if number == signal.SIGTERM:
      assert "the same command goes on from there" in err and "Traceback" not in err
  process = start(tmp_path)
  out, err = process.communicate(timeout=600)
  assert process.returncode == 0, err
  whole = finished[0]
  for name in ("metrics.jsonl", "evaluation.json", "config.json"):
    assert (tmp_path / name).read_bytes() == (whole / name).read_bytes(), name
  assert saved_digests(tmp_path, 31) == saved_digests(whole, 31)
  assert list((tmp_path / "tensorboard/plugins/profile").glob("*/*.xplane.pb"))
  assert not (tmp_path / "evaluation.progress.json").exists()


@pytest.mark.parametrize(
  "words, message",
  [
    (["--config=experiments/mbn_alp.py"], "imagenet2012.*experiments/mbn_alp.py:mini"),
    (
      ["--config=experiments/mbn_alp.py:star"],
      "imagenet2012.*experiments/mbn_alp.py:star,mini",
    ),
    (
      ["--config=experiments/mbn_alp.py:mini", "--config.train.epoch=3"],
      "train.epochs",
    ),
  ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path, words, message):
  empty = {**os.environ, "TFDS_DATA_DIR": str(tmp_path / "data")}
  workdir = tmp_path / "run"
  process = subprocess.run(
    [sys.executable, "-m", "robustjax.main", *words, f"--workdir={workdir}"],
    cwd=ROOT, env=empty, text=True, capture_output=True, timeout=120,
  )  # fmt: skip
  (line,) = process.stderr.splitlines()
  assert process.returncode == 2 and line.startswith("error: ")
  first, *rest = message.split(".*")
  assert first in line and all(word in line for word in rest)
  assert not workdir.exists()


def test_help_lists_experiments_and_variants():
  process = subprocess.run(
    [sys.executable, "-m", "robustjax.main", "--help"],
    cwd=ROOT, text=True, capture_output=True, timeout=120,
  )  # fmt: skip
  assert process.returncode == 0
  assert "mbn_alp" in process.stdout and "star" in process.stdout
