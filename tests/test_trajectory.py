"""Readings of one trajectory are separate runs; counts are exact."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CLASSES, lively, tiny

from robustjax.attacks import pgd
from robustjax.evaluation import trajectory
from robustjax.models import norm as norms
from robustjax.runtime import parallel

pytestmark = pytest.mark.usefixtures("optimised")
EPS, KEY = 16.0, jax.random.key(5)
PLAN = trajectory.trajectories((5, 10, 20, 60), EPS, 1.0)
WHOLE, CUT = None, 0


@pytest.fixture(scope="module")
def batch(optimised, batch):
  """The images, labelled as `net` sees them: the attack has something to break."""
  variables, apply = linear()
  return batch | {"label": apply(variables, batch["image"]).argmax(-1)}


def linear():
  """A classifier that some images are far from fooling and others near."""
  noise = np.random.default_rng(0)
  weights = noise.normal(size=(192, CLASSES)) * (noise.random((192, CLASSES)) < 0.1)

  def apply(variables, images):
    return (images.reshape(len(images), -1) / 255.0 - 0.5) @ variables

  return jnp.asarray(weights, jnp.float32), apply


@pytest.fixture(scope="module")
def net():
  """Variables and the logits function."""
  return linear()


@pytest.fixture(scope="module")
def resnet(optimised):
  """The same of a ResNet with one branch."""
  made = tiny(norms.batch())
  variables = lively(made.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3))))
  return variables, made.apply


def mapped(apply, devices):
  mesh = parallel.mesh(jax.devices()[:devices])
  made = trajectory.make_steps(
    apply, apply, eps=EPS, num_classes=CLASSES, axis=parallel.AXIS
  )
  return mesh, trajectory.Steps(
    parallel.pmap(made.begin, mesh, (CUT, WHOLE), CUT),
    parallel.pmap(made.advance, mesh, (WHOLE, CUT, CUT, CUT, WHOLE, WHOLE), CUT),
    parallel.pmap(made.read, mesh, (WHOLE, CUT, CUT, CUT, CUT), (CUT, WHOLE)),
  )


def padded(batch, first, count, size):
  """Rows first..first+count of a batch, padded to a size."""
  rows = np.arange(first, first + size)
  mask = rows < first + count
  cut = {k: np.asarray(v)[np.where(mask, rows, 0)] for k, v in batch.items()}
  return cut | {"mask": mask}


def test_step_sizes_cross_the_cube_and_share_trajectories():
  found = trajectory.trajectories((2000, 10, 20, 100, 500), 16.0, 1.0)
  assert found == [
    trajectory.Trajectory(1.6, (10,)),
    trajectory.Trajectory(1.0, (20, 100, 500, 2000)),
  ]


def test_readings_equal_separate_runs_exactly(batch, net):
  variables, apply = net
  mesh, steps = mapped(apply, 2)
  rows = parallel.shard(padded(batch, 0, 64, 64), mesh)
  counts = trajectory.count_batch(steps, variables, rows, KEY, PLAN)
  for t in PLAN:
    for n in t.readings:
      alone = [trajectory.Trajectory(t.step_size, (n,))]
      separate = trajectory.count_batch(steps, variables, rows, KEY, alone)
      for name in (f"correct/{n}", f"target_hits/{n}"):
        assert counts[name] == separate[name]


def test_chunks_between_readings_leave_no_trace(batch, resnet):
  """Bit for bit the iterates of one loop; to rounding those of another program."""
  variables, apply = resnet
  mesh, steps = mapped(apply, 1)
  rows = parallel.shard(padded(batch, 0, 64, 64), mesh)
  targets, start = steps.begin(rows, KEY)
  chunked = start
  for chunk in (2, 5, 8):
    chunked = steps.advance(variables, rows, chunked, targets, 1.0, chunk)
  once = steps.advance(variables, rows, start, targets, 1.0, 15)
  np.testing.assert_array_equal(chunked, once)
  keys = pgd.image_keys(KEY, batch["index"])
  attack = pgd.PGD(EPS, 1.0, 15)
  whole = jax.jit(lambda x, t, k: attack(lambda x: apply(variables, x), x, t, k))
  # A gradient at rounding's distance from zero may have either sign.
  assert jnp.mean(whole(batch["image"], targets, keys) == chunked) > 0.99


def test_counts_are_those_of_a_plain_computation(batch, net):
  variables, apply = net
  mesh, steps = mapped(apply, 1)
  rows = parallel.shard(padded(batch, 0, 64, 64), mesh)
  counts = trajectory.count_batch(steps, variables, rows, KEY, PLAN)
  targets, start = steps.begin(rows, KEY)
  clean = apply(variables, batch["image"]).argmax(-1)
  assert counts["correct/0"] == jnp.sum(clean == batch["label"])
  assert counts["target_hits/0"] == jnp.sum(clean == targets)
  unbroken = np.ones(64, bool)
  for t in PLAN:
    for n in t.readings:
      adv = steps.advance(variables, rows, start, targets, t.step_size, n)
      predicted = apply(variables, adv).argmax(-1)
      assert counts[f"correct/{n}"] == jnp.sum(predicted == batch["label"])
      assert counts[f"target_hits/{n}"] == jnp.sum(predicted == targets)
      unbroken &= np.asarray(predicted == batch["label"])
  assert counts["worst/correct"] == unbroken.sum()
  assert len(set(counts.values())) > 4  # the readings differ, or all this says little


def test_the_worst_case_is_wrong_where_the_clean_image_is():
  """Of a net that takes stored images alone for class 1, and all labels are 0."""

  def logits(variables, x):
    stored = (x == x.round()).all((1, 2, 3))
    return jax.nn.one_hot(stored.astype(int), CLASSES)

  rows = {
    "image": np.full((8, 4, 4, 1), 100, np.uint8), "label": np.zeros(8, np.int32),
    "index": np.arange(8), "mask": np.ones(8, bool),
  }  # fmt: skip
  steps = trajectory.make_steps(logits, logits, eps=EPS, num_classes=CLASSES)
  counts = trajectory.count_batch(steps, {}, rows, KEY, PLAN)
  assert (counts["correct/0"], counts["correct/5"], counts["correct/60"]) == (0, 8, 8)
  assert counts["worst/correct"] == 0


@pytest.mark.parametrize(
  "size, devices",
  [
    *(pytest.param(*way, marks=pytest.mark.thorough) for way in ((64, 8), (24, 2))),
    (16, 1),
    (40, 8),
  ],
)
def test_every_image_counts_once_whatever_the_batch_and_the_devices(
  batch, net, size, devices
):
  variables, apply = net
  mesh, steps = mapped(apply, devices)
  plan = PLAN[:1]
  total = Counter()
  for first in range(0, 61, size):
    rows = parallel.shard(padded(batch, first, min(size, 61 - first), size), mesh)
    total.update(trajectory.count_batch(steps, variables, rows, KEY, plan))
  mesh, steps = mapped(apply, 1)
  once = parallel.shard(padded(batch, 0, 61, 64), mesh)
  assert total == trajectory.count_batch(steps, variables, once, KEY, plan)
  assert total["correct/0"] == 61  # labels are what the net says of clean images


def test_broken_images_are_summed_over_devices(batch, net):
  variables, apply = net
  rows = padded(batch, 0, 61, 64)
  rows["skipped"] = np.isin(np.arange(64), (2, 5, 40)).astype(np.int32)
  rows["mask"] &= rows["skipped"] == 0
  plan = PLAN[:1]
  found = []
  for devices in (1, 8):
    mesh, steps = mapped(apply, devices)
    batch = parallel.shard(rows, mesh)
    found.append(trajectory.count_batch(steps, variables, batch, KEY, plan))
  assert found[0] == found[1]
  assert (found[0]["skipped"], found[0]["correct/0"]) == (3, 58)


def test_rows_are_in_the_order_of_steps():
  counts = {
    f"{k}/{n}": n + 1 for k in ("correct", "target_hits") for n in (0, 5, 10, 20, 60)
  }
  rows = trajectory.rows(counts, 100, "adv", PLAN, EPS)
  assert [(r["attack"], r["steps"], r["step_size"]) for r in rows] == [
    ("none", 0, 0.0),
    ("pgd", 5, 3.2),
    ("pgd", 10, 1.6),
    ("pgd", 20, 1.0),
    ("pgd", 60, 1.0),
  ]
  assert rows[2] == {
    "branch": "adv", "attack": "pgd", "steps": 10, "step_size": 1.6, "eps": 16.0,
    "images": 100, "correct": 11, "accuracy": 0.11, "target_hits": 11,
  }  # fmt: skip
