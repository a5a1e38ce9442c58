"""Examples are what the evaluation would have made and seen of the same images."""

import jax
import numpy as np
import pytest
from conftest import CLASSES
from test_trajectory import linear

from robustjax.errors import UserError
from robustjax.evaluation import trajectory
from robustjax.inspect import examples

EPS, SIZE, STEPS, KEY = 16.0, 2.0, 12, jax.random.key(5)


@pytest.fixture(scope="module")
def net():
  variables, apply = linear()
  return apply, variables


@pytest.fixture(scope="module")
def batch(batch):
  """The images, labelled as `net` sees them: the attack has something to break."""
  variables, apply = linear()
  return batch | {"label": apply(variables, batch["image"]).argmax(-1)}


def shown(net, batch, rows, **changes):
  apply, variables = net
  cut = {name: np.asarray(values)[rows] for name, values in batch.items()}
  values = {"steps": STEPS, "step_size": SIZE, "eps": EPS, **changes}
  return examples.examples(
    apply, apply, variables, cut, KEY, num_classes=CLASSES, **values
  )


def test_they_are_the_iterates_and_readings_of_the_evaluation(net, batch):
  apply, variables = net
  found = shown(net, batch, slice(0, 8))
  rows = {k: np.asarray(v)[:8] for k, v in batch.items()} | {"mask": np.ones(8, bool)}
  made = trajectory.make_steps(apply, apply, eps=EPS, num_classes=CLASSES)
  plan = [trajectory.Trajectory(SIZE, (STEPS,))]
  counts = trajectory.count_batch(
    trajectory.Steps(jax.jit(made.begin), jax.jit(made.advance), jax.jit(made.read)),
    variables, rows, KEY, plan,
  )  # fmt: skip
  targets, start = jax.jit(made.begin)(rows, KEY)
  adv = jax.jit(made.advance)(variables, rows, start, targets, SIZE, STEPS)
  np.testing.assert_array_equal(found["adv"], adv)
  np.testing.assert_array_equal(found["target"], targets)
  right = {n: found[f"predicted_{n}"] == found["label"] for n in ("clean", "adv")}
  hits = {n: found[f"predicted_{n}"] == found["target"] for n in ("clean", "adv")}
  assert counts["correct/0"] == right["clean"].sum()
  assert counts["target_hits/0"] == hits["clean"].sum()
  assert counts[f"correct/{STEPS}"] == right["adv"].sum()
  assert counts[f"target_hits/{STEPS}"] == hits["adv"].sum()
  assert hits["adv"].sum() > hits["clean"].sum()  # or all this says little


def test_they_are_images_within_eps_that_moved(net, batch):
  found = shown(net, batch, slice(0, 8))
  assert found["clean"].dtype == np.uint8 and found["adv"].dtype == np.float32
  np.testing.assert_array_equal(found["clean"], np.asarray(batch["image"])[:8])
  difference = np.abs(found["adv"] - found["clean"])
  assert difference.max() <= EPS and difference.max((1, 2, 3)).min() > 0.9 * EPS
  assert found["adv"].min() >= 0 and found["adv"].max() <= 255
  assert (found["target"] != found["label"]).all()


def test_an_image_is_the_same_in_any_batch(net, batch):
  one = shown(net, batch, slice(0, 8), steps=1)
  other = shown(net, batch, [3, 7, 5], steps=1)
  for name, values in one.items():
    np.testing.assert_array_equal(values[[3, 7, 5]], other[name])


def test_what_has_diverged_is_taken_for_nothing(net, batch):
  apply, variables = net
  broken = jax.tree.map(lambda x: x * np.nan, variables)
  with pytest.raises(UserError, match="logits of clean images are not finite"):
    shown((apply, broken), batch, slice(0, 8), steps=1)
