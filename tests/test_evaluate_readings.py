"""pgd-random counts what the end of a run counts, and says what it is not."""

import json

import jax
import networks
import numpy as np
import pytest

from robustjax.errors import UserError
from robustjax.evaluate import __main__ as command
from robustjax.evaluate import comparison, readings
from robustjax.evaluation import trajectory
from robustjax.paper.rows import TARGETED
from robustjax.report import curves, suites
from robustjax.run import stages
from robustjax.runtime import parallel
from robustjax.runtime.preemption import Stop

ONE, TWO = (parallel.mesh(jax.devices()[:n]) for n in (1, 2))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
  path = tmp_path_factory.mktemp("images") / "images.npz"
  np.savez(path, images=networks.IMAGES, labels=networks.LABELS)
  return path


@pytest.fixture
def evaluate(images, tmp_path, capsys, monkeypatch):
  """Calls the command; returns its status and what it printed."""
  monkeypatch.setattr(command.parallel, "mesh", lambda: TWO)

  def call(*words):
    given = [
      "networks:function", f"--data={images}", "--split=all", "--eps=16",
      "--attack=pgd-random", "--batch_size=15", f"--out={tmp_path / 'out'}", *words,
    ]  # fmt: skip
    status = command.main(given)
    return status, *capsys.readouterr()

  return call


def of_a_run(readings, step_size=1.0, seed=0):
  """What the end of a run counts of the same network and images, in one batch."""
  net = networks.network()
  steps = trajectory.make_steps(
    net.logits, net.attack_logits, eps=16.0, num_classes=networks.CLASSES
  )
  count = networks.COUNT
  (batch,) = networks.batches(range(count), count, ONE)
  plan = trajectory.trajectories(readings, 16.0, step_size)
  key = stages.evaluation_key(seed)
  steps = trajectory.Steps(*map(jax.jit, (steps.begin, steps.advance, steps.read)))
  return trajectory.count_batch(steps, net.variables, batch, key, plan)


def test_it_counts_what_a_run_ends_with(evaluate, tmp_path, monkeypatch):
  drawn = []
  monkeypatch.setattr(readings.curves, "draw", lambda *said: drawn.append(said))
  status, printed, _ = evaluate("--steps=20,4,20", "--seed=3")
  assert status == 0 and TARGETED in printed
  found = json.loads((tmp_path / "out" / readings.FILE).read_text())
  counts = of_a_run((4, 20), seed=3)
  for row in found["rows"]:
    for name in ("correct", "target_hits"):
      assert row[name] == counts[f"{name}/{row['steps']}"]
  sizes = {row["steps"]: row["step_size"] for row in found["rows"]}
  assert sizes == {0: 0.0, 4: 4.0, 20: 1.0}
  first, _, last = found["rows"]
  assert last["correct"] < first["correct"] and last["target_hits"] > 0
  # Nothing takes it for a measure of robustness.
  assert not (tmp_path / "out" / suites.SUMMARY.rsplit("/")[-1]).exists()
  with pytest.raises(UserError, match="is not the folder of an evaluation"):
    comparison.text([tmp_path / "out", tmp_path / "out"])
  ((picture, _, rows),) = drawn
  assert picture.name == readings.PICTURE and rows == found["rows"]
  again, repeated, _ = evaluate("--steps=4,20", "--seed=3")
  assert again == 0 and repeated == "\n".join(printed.splitlines()[1:]) + "\n"


def test_it_goes_on_from_where_it_stopped(evaluate, tmp_path, monkeypatch):
  """With the same counts, whatever the batches."""
  asked = []

  def stopping(self):
    asked.append(1)
    return len(asked) == 2

  with monkeypatch.context() as patch:
    patch.setattr(Stop, "requested", stopping)
    status, _, said = evaluate("--steps=2", "--step_size=3")
  assert status == 143 and "after 1 of 2 batches" in said
  asked[:] = range(10)
  assert evaluate("--steps=2", "--step_size=3")[0] == 0
  found = json.loads((tmp_path / "out" / readings.FILE).read_text())
  counts = of_a_run((2,), step_size=3.0)
  assert [row["correct"] for row in found["rows"]] == [
    counts["correct/0"], counts["correct/2"]
  ]  # fmt: skip
  assert not (tmp_path / "out" / "evaluation.progress.json").exists()
  status, _, said = evaluate("--steps=2", "--step_size=4")
  assert status == 2 and "step_size=3.0, not 4.0: move it away" in said


def test_its_picture_says_what_it_is_not(tmp_path):
  (axes,) = draw(tmp_path / "readings.png").axes
  assert "no measure of robustness" in axes.get_xlabel()


def draw(path):
  kept = []
  rows = [{"branch": "all", "steps": n, "correct": 9 - n, "images": 10} for n in (0, 4)]
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(
      curves.Figure, "savefig", lambda figure, *_, **__: kept.append(figure)
    )
    curves.draw(path, "title", rows)
  return kept[0]


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (["--attack=pgd-random,square"], "pgd-random is read alone"),
    (["--norm=l2"], "pgd-random is read alone, in L-infinity"),
    (["--restarts=2", "--loss=dlr"], "leave --restarts, --loss out"),
    (["--attack_branch=all"], "leave --attack_branch out"),
    (["--attack=pgd", "--steps=1,2"], "several --steps are for --attack=pgd-random"),
    (["--steps=1,x"], "'x' is not a whole number from 1 up"),
  ],
)
def test_mistakes_are_one_line(evaluate, tmp_path, words, message):
  status, printed, said = evaluate(*words)
  assert status == 2 and message in said and printed == ""
  assert said.count("\n") == 1 and not (tmp_path / "out").exists()
