"""An interrupted evaluation goes on and ends with the same counts."""

from collections import Counter

import pytest

from robustjax.errors import UserError
from robustjax.evaluation import evaluate, trajectory
from robustjax.runtime.preemption import Stopped

PLAN = trajectory.trajectories((2, 4), 4.0, 1.0)
NAMES = ("correct/0", "target_hits/0", "correct/2", "target_hits/2", "correct/4",
         "target_hits/4", "worst/correct")  # fmt: skip


class StopAt:
  """Asks to stop at the n-th question."""

  def __init__(self, n):
    self.left = n

  def requested(self):
    self.left -= 1
    return self.left == 0


@pytest.fixture
def run(tmp_path, monkeypatch):
  """Evaluates 5 batches of 4 of 18 images; counts depend on the batch's number."""
  seen, broken = [], {}

  def count_batch(steps, variables, batch, key, plan, after_chunk):
    if broken.get(batch) == "nan" and variables:
      raise UserError("the logits of 2 images are not finite after 4 steps")
    after_chunk(4)
    seen.append((batch, variables))
    counts = {name: i + batch + variables for i, name in enumerate(NAMES)}
    return counts | (
      {"skipped": broken[batch]} if isinstance(broken.get(batch), int) else {}
    )

  monkeypatch.setattr(trajectory, "count_batch", count_batch)

  def batches(first):
    assert first < 5  # a pipeline has no batch after the last
    return iter(range(first, 5))

  def go(stop_at=0, identity=1, skipped=()):
    seen.clear()
    broken.update(skipped)
    found = evaluate.evaluate(
      None, {"clean": 0, "adv": 1}, batches, key=None, plan=PLAN,
      eps=4.0, images=18, batch_size=4, identity={"step": identity},
      workdir=tmp_path, stop=StopAt(stop_at), shows=True,
    )  # fmt: skip
    return found

  go.seen = seen
  return go


def test_all_batches_go_through_all_branches(run):
  found = run()
  assert Counter(run.seen) == Counter((b, v) for b in range(5) for v in (0, 1))
  assert [r["branch"] for r in found["rows"]] == ["clean"] * 3 + ["adv"] * 3
  assert found["rows"][0]["correct"] == sum(range(5))
  assert found["rows"][0]["accuracy"] == sum(range(5)) / 18
  worst = {w["branch"]: w["correct"] for w in found["worst_case"]}
  assert worst == {"clean": 10 + 5 * 6, "adv": 10 + 5 * 7}


@pytest.mark.parametrize("stop_at", [1, 2, 5, 10])
def test_goes_on_where_it_stopped(run, tmp_path, stop_at):
  expected = run(identity=2)
  (tmp_path / evaluate.PROGRESS).unlink()
  with pytest.raises(Stopped, match="of 5 batches"):
    run(stop_at, identity=2)
  whole = [b for b, v in run.seen if v == 1]  # both branches are done
  assert run(identity=2) == expected
  assert {b for b, _ in run.seen} == set(range(5)) - set(whole)


def test_broken_images_are_not_counted_but_told(run, tmp_path):
  plain = run()
  (tmp_path / evaluate.PROGRESS).unlink()
  assert "skipped" not in plain
  with pytest.raises(Stopped):
    run(5, skipped={0: 2, 3: 1})
  found = run()
  assert found["skipped"] == 3
  for row, whole in zip(
    found["rows"] + found["worst_case"],
    plain["rows"] + plain["worst_case"],
    strict=True,
  ):
    assert row["images"] == 15 and row["accuracy"] == row["correct"] / 15
    assert row["correct"] == whole["correct"]


def test_none_that_are_broken_leave_no_trace(run, tmp_path):
  plain = run()
  (tmp_path / evaluate.PROGRESS).unlink()
  assert run(skipped={0: 0, 1: 0}) == plain


def test_broken_images_alone_are_refused(run):
  with pytest.raises(UserError, match="all 18 images are broken"):
    run(skipped={0: 18})


def test_all_batches_done_and_nothing_written_is_enough(run):
  expected = run()
  assert run() == expected and not run.seen  # no batch is asked for


def test_counts_of_another_evaluation_are_refused_and_kept(run, tmp_path):
  with pytest.raises(Stopped):
    run(8, identity=1)
  before = (tmp_path / evaluate.PROGRESS).read_bytes()
  with pytest.raises(UserError, match="step=1, not 2: move it away"):
    run(identity=2)
  assert (tmp_path / evaluate.PROGRESS).read_bytes() == before


def test_logits_that_are_no_numbers_end_it_with_the_branch_and_the_reading(run):
  with pytest.raises(UserError, match="branch adv, batch 3: .* not finite after 4 st"):
    run(skipped={2: "nan"})
