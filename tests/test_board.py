"""TensorBoard's events fail alone, and are made up for."""

import pytest
from tensorboardX import record_writer

from robustjax.runtime import board


def record(step):
  return {"step": step, "epoch": 0.1, "split": "train", "loss": float(step)}


def steps(folder):
  return sorted(board._steps(folder))


def test_records_are_there_once(tmp_path):
  first = board.Board(tmp_path / "b", 0, [])
  for step in (1, 2):
    first.write(record(step), {"images_per_second": 10.0})
  first.close()
  assert steps(tmp_path / "b") == [1, 1, 2, 2]  # the loss and the speed
  board.Board(tmp_path / "b", 2, map(record, (1, 2))).close()
  assert steps(tmp_path / "b") == [1, 1, 2, 2]


def test_what_a_full_disk_took_is_said_once_and_made_up_for(
  tmp_path, monkeypatch, capsys
):
  writer = board.Board(tmp_path / "b", 0, [])
  writer.write(record(1))

  def full(_):
    raise OSError(28, "No space left on device")

  with monkeypatch.context() as patch:
    patch.setattr(record_writer.RecordWriter, "flush", full)
    for step in (2, 3):
      writer.write(record(step))
    writer.close()
  assert capsys.readouterr().err.count("No space left") == 1
  board.Board(tmp_path / "b", 3, map(record, (1, 2, 3))).close()
  assert set(steps(tmp_path / "b")) == {1, 2, 3}


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 1000, b"\xff" * 64])
def test_foreign_files_are_no_records(tmp_path, content):
  (tmp_path / "events.x").write_bytes(content)
  assert not steps(tmp_path)
