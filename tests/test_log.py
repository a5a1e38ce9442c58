"""Records that survive kills, files that are whole or not there."""

import json

import pytest

from robustjax.runtime import log


def records(workdir):
  return list(log.read_metrics(workdir / log.METRICS))


def test_a_record_holds_step_epoch_split_and_values(tmp_path):
  written = log.MetricsLog(tmp_path, 0)
  written.write(10, 0.5, "train", {"loss": 1.25}, speed=300.0)
  written.close()
  assert records(tmp_path) == [
    {"step": 10, "epoch": 0.5, "split": "train", "loss": 1.25}
  ]
  assert list((tmp_path / "tensorboard").glob("events.*"))


def test_records_after_the_resumed_step_are_written_anew(tmp_path):
  first = log.MetricsLog(tmp_path, 0)
  for step in (1, 2, 3):
    first.write(step, 0.0, "train", {"loss": 0.0})
  first.close()
  path = tmp_path / log.METRICS
  path.write_text(path.read_text() + '{"step": 4, "epo')  # a kill in mid-line
  again = log.MetricsLog(tmp_path, 2)
  again.write(3, 0.0, "train", {"loss": 9.0})
  again.close()
  assert [(r["step"], r["loss"]) for r in records(tmp_path)] == [
    (1, 0.0),
    (2, 0.0),
    (3, 9.0),
  ]


def test_other_processes_write_nothing(tmp_path):
  silent = log.MetricsLog(tmp_path, 0, writes=False)
  silent.write(1, 0.0, "train", {"loss": 0.0})
  silent.close()
  assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / "x.json"
  log.write_json(path, {"a": 1})

  def full(_):
    raise OSError("no space left")

  monkeypatch.setattr(log.os, "fsync", full)
  with pytest.raises(OSError):
    log.write_json(path, {"a": 2})
  assert json.loads(path.read_text()) == {"a": 1}


def test_progress_shows_the_rate_and_the_time_left(capsys):
  bar = log.progress("train", total=1000, done=200, unit="images")
  bar.update(100)
  bar.refresh()
  bar.close()
  shown = capsys.readouterr().err
  assert "300/1.00k" in shown and "images/s" in shown and "<" in shown


def test_differences_are_of_values_and_of_names_alone():
  one, other = {"b": 1, "a": 2, "same": 0}, {"b": 3, "same": 0, "none": None}
  assert list(log.differences(one, other)) == ["a", "b", "none"]
