"""Every step once, saved when due, stopped when asked, halted when it diverges."""

import types

import jax.numpy as jnp
import pytest

from robustjax.errors import UserError
from robustjax.runtime.preemption import Stopped
from robustjax.training import loop
from robustjax.training.state import TrainState

SCHEDULE = loop.Schedule(
  steps=10, steps_per_epoch=4, batch_size=8, save_every=4, log_every=3, running_from=6
)


class Recorder:
  """Stands in for the checkpoints, the log and the stop, and notes what they get."""

  def __init__(self, stop_after=0):
    self.saved, self.records, self.polls, self.stop_after = {}, [], 0, stop_after
    self.speeds = []  # of the records of training
    self.durable = 0  # how many of the records are

  def sync(self):
    self.durable = len(self.records)

  def save(self, step, state, metrics):
    assert self.durable == len(self.records)
    self.saved[step] = metrics

  def steps(self):
    return sorted(self.saved)

  def write(self, step, epoch, split, values, speeds=None):
    self.records.append((step, epoch, split, values))
    self.speeds += [speeds] if speeds else []

  def requested(self):
    self.polls += 1
    return self.polls == self.stop_after


def run(
  recorder, first=0, nan_at=-1, bad=jnp.nan, order=None, skipped=None, before=0, **more
):
  """Trains with steps that note their statistics; returns the state and the notes."""
  notes = [] if order is None else order

  def step_with(statistics):
    def step(state, batch, key):
      notes.append((int(state.step), batch, statistics))
      loss = jnp.where(state.step == nan_at, bad, 1.0)
      metrics = {"loss": loss}
      if skipped:
        metrics["skipped"] = jnp.int32(skipped.get(int(state.step), 0))
      return state.replace(step=state.step + 1), metrics

    program = types.SimpleNamespace(as_text=lambda: statistics)
    lowered = types.SimpleNamespace(compile=lambda: program)
    step.lower = lambda *arguments: lowered
    return step

  state = loop.train(
    TrainState(jnp.array(first), {}, {}, {}),
    {name: step_with(name) for name in ("batch", "running")},
    iter(range(first, 100)),
    None,
    SCHEDULE,
    validate=lambda state: {loop.BEST: int(state.step) / 10},
    checkpoints=recorder,
    metrics_log=recorder,
    stop=recorder,
    skipped=before,
    shows=False,
    **more,
  )
  return state, notes


def test_every_step_takes_its_batch_and_its_statistics():
  state, notes = run(Recorder())
  assert int(state.step) == 10
  assert notes == [(i, i, "batch" if i < 6 else "running") for i in range(10)]


def test_saves_and_validates_when_due_and_at_the_end():
  recorder = Recorder()
  run(recorder)
  assert recorder.saved == {s: {loop.BEST: s / 10} for s in (4, 8, 10)}
  assert [r[0] for r in recorder.records if r[2] == "validation"] == [4, 8, 10]


def test_records_training_values_with_their_epoch():
  recorder = Recorder()
  run(recorder)
  train = [(r[0], r[1], r[3]) for r in recorder.records if r[2] == "train"]
  assert train == [(s, s / 4, {"loss": 1.0}) for s in (3, 6, 9, 10)]


def test_what_took_time_goes_to_tensorboard_alone():
  recorder, asked = Recorder(), []
  run(recorder, at_peak=lambda text: asked.append(text) or 1e-9)
  assert asked == ["batch"]  # once, of the program that was compiled
  assert len(recorder.speeds) == 4
  for speeds in recorder.speeds:
    assert 0 <= speeds["waited_for_images"] < 1 and 0 < speeds["share_of_peak"] < 1
    images = speeds["images_per_second"] * 1e-9 / SCHEDULE.batch_size
    assert speeds["share_of_peak"] == pytest.approx(images)
  assert all(set(record[3]) <= {"loss", loop.BEST} for record in recorder.records)
  run(plain := Recorder(), at_peak=lambda text: None)  # operations are not known
  assert all("share_of_peak" not in speeds for speeds in plain.speeds)


def test_a_step_that_skipped_broken_images_has_a_record_of_its_own():
  recorder, plain = Recorder(), Recorder()
  run(recorder, skipped={0: 2, 2: 1, 8: 4})
  run(plain)
  own = [r for r in recorder.records if "skipped" in r[3]]
  assert own == [
    (s, s / 4, "train", {"skipped": n}) for s, n in ((1, 2), (3, 1), (9, 4))
  ]
  assert [r for r in recorder.records if r not in own] == plain.records
  later = Recorder()
  run(later, first=6, skipped={0: 2, 2: 1, 8: 4})
  assert later.records == [r for r in recorder.records if r[0] > 6]


def test_the_bar_shows_how_many_were_skipped_in_all(monkeypatch):
  shown = []

  class Bar:
    update = close = lambda self, *args: None

    def set_postfix_str(self, text, refresh):
      shown.append(text)

  monkeypatch.setattr(loop.log, "progress", lambda *args, **options: Bar())
  run(Recorder(), first=3, skipped={4: 2, 7: 1}, before=5)
  assert shown == [
    "loss 1.000 skipped 7",
    "loss 1.000 skipped 8",
    "loss 1.000 skipped 8",
  ]


def test_records_are_in_the_order_of_steps():
  recorder = Recorder()
  run(recorder)
  assert [r[0] for r in recorder.records] == sorted(r[0] for r in recorder.records)


def test_stops_when_asked_and_goes_on():
  recorder = Recorder(stop_after=6)
  with pytest.raises(Stopped, match="after step 6 of 10"):
    run(recorder)
  assert recorder.steps() == [4, 6] and recorder.saved[6] is None
  state, notes = run(recorder, first=6)
  assert int(state.step) == 10 and [n[0] for n in notes] == [6, 7, 8, 9]


def test_an_infinite_loss_halts_too():
  with pytest.raises(UserError, match="diverged at step 3: loss is inf"):
    run(Recorder(), nan_at=2, bad=jnp.inf)


def test_metrics_are_fetched_once_the_next_step_is_on_its_way(monkeypatch):
  """Between two saves; at a save they are fetched before the state is written."""
  begun, fetched, get = [], [], loop.jax.device_get

  def spy(arrays):
    fetched.append(len(begun))
    return get(arrays)

  monkeypatch.setattr(loop.jax, "device_get", spy)
  run(Recorder(), order=begun)
  assert fetched == [2, 3, 4, 4, 6, 7, 8, 8, 10, 10]


@pytest.mark.parametrize("nan_at, saved", [(2, []), (3, []), (5, [4]), (9, [4, 8])])
def test_a_loss_that_is_not_finite_halts_and_is_never_saved(nan_at, saved):
  recorder = Recorder()
  with pytest.raises(UserError, match=f"diverged at step {nan_at + 1}: loss is nan"):
    run(recorder, nan_at=nan_at)
  assert recorder.steps() == saved
