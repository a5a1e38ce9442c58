"""Records that survive kills and damage."""

import os
import shutil

import pytest

from robustjax.errors import UserError
from robustjax.runtime import files, metrics


def records(workdir):
  return list(metrics.read_metrics(workdir / metrics.METRICS))


def test_a_record_holds_step_epoch_split_and_values(tmp_path):
  written = metrics.MetricsLog(tmp_path, 0)
  written.write(10, 0.5, "train", {"loss": 1.25}, {"images_per_second": 300.0})
  written.close()
  assert records(tmp_path) == [
    {"step": 10, "epoch": 0.5, "split": "train", "loss": 1.25}
  ]
  assert list((tmp_path / "tensorboard").glob("events.*"))


def test_records_after_the_resumed_step_are_written_anew(tmp_path):
  first = metrics.MetricsLog(tmp_path, 0)
  for step in (1, 2, 3):
    first.write(step, 0.0, "train", {"loss": 0.0})
  first.close()
  path = tmp_path / metrics.METRICS
  path.write_text(path.read_text() + '{"step": 4, "epo')  # a kill in mid-line
  again = metrics.MetricsLog(tmp_path, 2)
  again.write(3, 0.0, "train", {"loss": 9.0})
  again.close()
  assert [(r["step"], r["loss"]) for r in records(tmp_path)] == [
    (1, 0.0),
    (2, 0.0),
    (3, 9.0),
  ]


def test_other_processes_write_nothing(tmp_path):
  silent = metrics.MetricsLog(tmp_path, 0, writes=False)
  silent.write(1, 0.0, "train", {"loss": 0.0})
  silent.close()
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("line", ["", "null", "5", "{}", '{"step": "1"}', "[" * 5000])
def test_a_line_that_is_no_record_is_named_and_nothing_else_is_lost(
  tmp_path, capsys, line
):
  first = metrics.MetricsLog(tmp_path, 0)
  for step in (1, 2):
    first.write(step, 0.0, "train", {"loss": 0.0})
  first.close()
  path = tmp_path / metrics.METRICS
  one, two = path.read_text().splitlines()
  path.write_text(f"{one}\n{line}\n{two}\n")
  metrics.MetricsLog(tmp_path, 2).close()
  assert [r["step"] for r in records(tmp_path)] == [1, 2]
  assert "line 2 is no record and is lost" in capsys.readouterr().err
  assert line in (tmp_path / f"{metrics.METRICS}.damaged").read_text()


@pytest.mark.parametrize("change", ["moved", "removed", "another"])
def test_a_folder_that_is_moved_meanwhile_is_found_at_the_next_save(tmp_path, change):
  folder = tmp_path / "run"
  folder.mkdir()
  log = metrics.MetricsLog(folder, 0)
  log.write(1, 0.1, "train", {"loss": 1.0})
  log.sync()
  folder.rename(tmp_path / "elsewhere")
  if change == "removed":
    shutil.rmtree(tmp_path / "elsewhere")
  if change == "another":
    folder.mkdir()
    (folder / metrics.METRICS).write_text("of another run")
  with pytest.raises(UserError, match=f"was moved or removed .* put {folder} back"):
    log.sync()
  log.close()


def test_a_pipe_is_no_file_of_records(tmp_path):
  os.mkfifo(tmp_path / metrics.METRICS)
  with pytest.raises(files.Damaged, match="is not a file"):
    metrics.read_metrics(tmp_path / metrics.METRICS)
