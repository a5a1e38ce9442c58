"""The main job on a folder of images, some of them broken."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from data_files import image_folder

ROOT = Path(__file__).parents[1]
WORDS = [
  "--config=experiments/adv.py:mini",
  "--config.data.version=",
  "--config.data.test_split=val",
  "--config.data.channels=3",
  "--config.data.transform=imagenet",
  "--config.data.resize=32",
  "--config.data.train_examples=160",
  "--config.data.test_examples=40",
  "--config.data.classes=2",
  "--config.data.class_digest=",
  "--config.model.width=4",
  "--config.model.stages=(1,1)",
  "--config.attack.steps=1",
  "--config.train.batch_size=32",
  "--config.train.epochs=4",  # 20 steps
  "--config.train.save_every_epochs=1",
  "--config.train.log_every_steps=3",
  "--config.train.validation_images=20",
  "--config.optimizer.decay_epochs=()",
  "--config.eval.readings=(2,)",
  "--config.eval.images=40",
  "--config.eval.attack=",
  "--config.eval.batch_size=12",
]
SKIP = "--config.data.broken_images=skip"
BROKEN = ("train/cat/cat_3.jpg", "train/dog/dog_71.jpg", "val/dog/dog_7.jpg")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
  """Starts a run on a folder with broken images."""
  folder = image_folder(tmp_path_factory.mktemp("data"), {"train": 80, "val": 20})
  for name in BROKEN:
    (folder / name).write_bytes((folder / name).read_bytes()[:-250])

  def started(workdir, *words):
    flags = [*WORDS, f"--config.data.name={folder}", f"--workdir={workdir}", *words]
    return subprocess.Popen(
      [sys.executable, "-m", "robustjax.main", *flags],
      cwd=ROOT, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip

  return started


@pytest.mark.slow
@pytest.mark.thorough
def test_a_broken_image_stops_the_run_and_is_named(start, tmp_path):
  process = start(tmp_path, "--config.data.workers=2")
  _, err = process.communicate(timeout=300)
  last = err.splitlines()[-1]
  assert process.returncode == 2 and "Traceback" not in err
  assert last.startswith("error: ") and "broken_images=skip" in last
  assert any(name in last for name in BROKEN) and ", split train, index" in last


@pytest.fixture(scope="module")
def finished(start, tmp_path_factory):
  """The workdir of a run that skips them, and what it printed."""
  workdir = tmp_path_factory.mktemp("whole")
  process = start(workdir, SKIP)
  out, err = process.communicate(timeout=300)
  assert process.returncode == 0, err
  return workdir, out, err


@pytest.mark.slow
@pytest.mark.thorough
def test_skipped_images_are_named_and_counted(finished):
  whole, out, err = finished
  assert "broken images, which no row counts: 1" in out
  for name in BROKEN:
    (line,) = {x for x in err.splitlines() if name in x}
    assert line.startswith("skipped: ") and err.count(name) == 1
  found = json.loads((whole / "evaluation.json").read_text())
  assert found["skipped"] == 1 and {row["images"] for row in found["rows"]} == {39}
  lines = (whole / "metrics.jsonl").read_text().splitlines()
  records = [json.loads(line) for line in lines]
  skipped = [r.get("skipped", 0) for r in records if r["split"] == "train"]
  assert sum(skipped) == 8  # two in each of four epochs
  assert f"skipped {sum(skipped)}]" in err


@pytest.mark.slow
@pytest.mark.thorough
def test_they_are_counted_alike_however_the_run_went(start, finished, tmp_path):
  """In one go; and killed, started again, and with workers."""
  whole, parts = finished[0], tmp_path / "parts"
  process = start(parts, SKIP)
  deadline = time.monotonic() + 300
  while not (parts / "checkpoints" / "10").exists():
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.01)
  process.kill()
  process.communicate()
  process = start(parts, SKIP, "--config.data.workers=2")
  _, err = process.communicate(timeout=300)
  assert process.returncode == 0 and "skipped 8]" in err, err
  for name in ("metrics.jsonl", "evaluation.json"):
    assert (parts / name).read_bytes() == (whole / name).read_bytes()
