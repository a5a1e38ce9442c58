"""A tracker gets each record once, whatever fails or is killed in between."""

import json
import sys
import threading

import pytest

from robustjax.runtime import metrics, tracker


class Memory:
  """A tracker that keeps what it gets, and fails where it is told to."""

  where = "memory://here"

  def __init__(self):
    self.starts, self.got, self.fails = [], [], False

  def start(self, id):
    self.starts.append(id)
    return self

  def write(self, step, values):
    if self.fails:
      raise OSError("the network\nis away")
    self.got.append((step, values["train/loss"]))

  def close(self):
    self.starts.append("closed")


@pytest.fixture
def memory():
  return Memory()


@pytest.fixture
def begun():
  """Begins to record; what a kill would leave open is closed in the end."""
  logs = []

  def begin(folder, step, memory):
    log = metrics.MetricsLog(folder, step, tracker=("memory", memory.start))
    logs.append(log)
    return log

  yield begin
  for log in logs:
    log.close()


def write(log, *steps):
  for step in steps:
    log.write(step, 0.1, "train", {"loss": float(step)})


def test_it_hears_of_every_record_and_is_asked_where(tmp_path, begun, memory, capsys):
  log = begun(tmp_path, 0, memory)
  write(log, 1, 2)
  log.close()
  assert memory.got == [(1, 1.0), (2, 2.0)] and memory.starts[1:] == ["closed"]
  assert "Tracked: memory://here" in capsys.readouterr().out


@pytest.mark.parametrize("saved", [1, 2, 3])
def test_what_it_had_is_not_sent_again(tmp_path, begun, memory, saved):
  """A kill after step 3; the run goes on from what was saved, and repeats."""
  write(begun(tmp_path, 0, memory), 1, 2, 3)
  write(begun(tmp_path, saved, memory), *range(saved + 1, 6))
  assert memory.got == [(step, float(step)) for step in range(1, 6)]
  assert len(set(memory.starts)) == 1


def test_what_a_failure_took_is_said_once_and_made_up_for(
  tmp_path, begun, memory, capsys
):
  log = begun(tmp_path, 0, memory)
  write(log, 1)
  memory.fails = True
  write(log, 2, 3)
  memory.fails = False
  write(log, 4)
  log.close()
  assert (
    capsys.readouterr().err.count("memory cannot be written to (the network is") == 1
  )
  assert [r["step"] for r in metrics.read_metrics(tmp_path / metrics.METRICS)][-1] == 4
  begun(tmp_path, 4, memory).close()
  assert [step for step, _ in memory.got] == [1, 2, 3, 4]


def test_one_that_does_not_start_stops_nothing(tmp_path, capsys):
  def start(id):
    raise RuntimeError("no account")

  log = metrics.MetricsLog(tmp_path, 0, tracker=("mine", start))
  write(log, 1)
  log.close()
  assert capsys.readouterr().err.count("mine cannot be written to (no account)") == 1


@pytest.mark.parametrize("what", ["start", "write", "close"])
def test_one_that_never_answers_holds_nothing_up(
  tmp_path, begun, memory, monkeypatch, capsys, what
):
  monkeypatch.setattr(tracker, "LIMIT", 0.05)
  network = threading.Event()
  whole = getattr(memory, what)

  def hung(*given, **named):
    network.wait()
    return whole(*given, **named)

  monkeypatch.setattr(memory, what, hung)
  log = begun(tmp_path, 0, memory)
  write(log, 1, 2)
  log.close()
  said = capsys.readouterr().err
  assert said.count("memory cannot be written to (no answer in 0.05 s)") == 1
  assert len(metrics.read_metrics(tmp_path / metrics.METRICS)) == 2
  network.set()


def test_one_that_would_end_the_process_ends_itself(tmp_path, capsys):
  log = metrics.MetricsLog(tmp_path, 0, tracker=("mine", lambda id: sys.exit("bye")))
  log.close()
  assert "mine cannot be written to (bye)" in capsys.readouterr().err


def test_its_calls_are_from_one_thread(tmp_path, begun, memory):
  """As a database wants it, say."""
  seen = []
  memory.write = lambda step, values: seen.append(threading.get_ident())
  start = memory.start
  memory.start = lambda id: (seen.append(threading.get_ident()), start(id))[1]
  memory.close = lambda: seen.append(threading.get_ident())
  log = begun(tmp_path, 0, memory)
  write(log, 1, 2)
  log.close()
  assert len(seen) == 4 and len({*seen}) == 1


def test_a_run_that_begins_anew_is_another_one(tmp_path, begun, memory):
  write(begun(tmp_path, 0, memory), 1, 2)
  write(begun(tmp_path, 0, memory), 1)
  assert memory.got == [(1, 1.0), (2, 2.0), (1, 1.0)]
  assert len(set(memory.starts)) == 2


@pytest.mark.parametrize("content", ["", "[]", "{", '{"sent": "2", "id": 3}'])
def test_a_damaged_note_of_what_was_sent_stops_nothing(
  tmp_path, begun, memory, content
):
  write(begun(tmp_path, 0, memory), 1)
  (tmp_path / tracker.STATE).write_text(content)
  write(begun(tmp_path, 1, memory), 2)
  assert memory.got == [(1, 1.0), (1, 1.0), (2, 2.0)]
  assert json.loads((tmp_path / tracker.STATE).read_text())["sent"] == 2


def test_a_speed_goes_along(tmp_path, begun, memory):
  seen = []
  memory.write = lambda step, values: seen.append(values)
  log = begun(tmp_path, 0, memory)
  log.write(3, 0.25, "train", {"loss": 1.0}, {"images_per_second": 50.0})
  assert seen == [{"train/loss": 1.0, "train/images_per_second": 50.0, "epoch": 0.25}]
