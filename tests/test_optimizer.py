"""The paper's schedule, and what weight decay touches."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import tiny

from robustjax.training import optimizer

PAPER = {
  "peak": 1.6,
  "steps_per_epoch": 313,
  "warmup_epochs": 5.0,
  "warmup_from": 0.1,
  "decay_epochs": (35.0, 70.0, 95.0),
  "decay_factor": 0.1,
}


@pytest.mark.parametrize(
  "epoch, rate",
  [(0, 0.1), (2.5, 0.85), (5, 1.6), (34.9, 1.6), (35.1, 0.16), (69.9, 0.16),
   (70.1, 0.016), (94.9, 0.016), (95.1, 0.0016), (109, 0.0016)],
)  # fmt: skip
def test_the_papers_schedule(epoch, rate):
  schedule = optimizer.step_schedule(**PAPER)
  np.testing.assert_allclose(schedule(round(epoch * 313)), rate, rtol=3e-3)


def test_warm_up_never_starts_above_the_peak():
  schedule = optimizer.step_schedule(**PAPER | {"peak": 0.05})
  assert {round(float(schedule(s)), 6) for s in (0, 500, 1565, 2000)} == {0.05}


def test_two_decays_on_one_step_both_count():
  few = PAPER | {"steps_per_epoch": 1, "warmup_epochs": 0, "decay_epochs": (5.1, 5.4)}
  np.testing.assert_allclose(optimizer.step_schedule(**few)(6), 0.016, rtol=1e-5)


def test_no_warm_up():
  schedule = optimizer.step_schedule(**PAPER | {"warmup_epochs": 0})
  np.testing.assert_allclose(schedule(0), 1.6, rtol=1e-6)


def test_decay_touches_kernels_alone():
  params = tiny().init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]
  params = jax.tree.map(jnp.ones_like, params)
  sgd = optimizer.sgd(lambda _: 1.0, momentum=0.0, nesterov=False, weight_decay=0.25)
  none = jax.tree.map(jnp.zeros_like, params)
  updates, _ = sgd.update(none, sgd.init(params), params)
  leaves = jax.tree_util.tree_leaves_with_path(updates)
  moved = {path[-1].key for path, x in leaves if jnp.any(x)}
  still = {path[-1].key for path, x in leaves if not jnp.any(x)}
  assert moved == {"kernel"} and still == {"scale", "bias"}
  np.testing.assert_allclose(updates["fc"]["kernel"], -0.25)


def test_it_is_nesterov_sgd_on_the_regularised_loss():
  def loss(p):
    return jnp.sum((p["kernel"] - 3.0) ** 2)

  def regularised(p):
    return loss(p) + 0.5 * 0.1 * jnp.sum(p["kernel"] ** 2)

  params = {"kernel": jnp.array([1.0, -2.0])}
  kwargs = {"momentum": 0.9, "nesterov": True}
  ours = optimizer.sgd(lambda _: 0.05, weight_decay=0.1, **kwargs)
  theirs = optax.sgd(0.05, **kwargs)
  runs = []
  for tx, objective in ((ours, loss), (theirs, regularised)):
    p, s = params, tx.init(params)
    for _ in range(5):
      updates, s = tx.update(jax.grad(objective)(p), s, p)
      p = optax.apply_updates(p, updates)
    runs.append(p["kernel"])
  np.testing.assert_allclose(*runs, rtol=1e-5)


def test_rmsprop_is_tensorflows():
  """Mean of squares from 1, eps under the root, momentum on the scaled gradient."""
  tx = optimizer.rmsprop(
    lambda _: 0.05, decay=0.9, eps=0.5, momentum=0.8, nesterov=False, weight_decay=0.1
  )
  params = {"kernel": jnp.array([1.0, -2.0])}
  state = tx.init(params)
  value, mean, speed = np.array([1.0, -2.0]), np.ones(2), np.zeros(2)
  for _ in range(4):
    grad = 2 * (value - 3.0)
    updates, state = tx.update({"kernel": jnp.asarray(grad)}, state, params)
    params = optax.apply_updates(params, updates)
    grad = grad + 0.1 * value
    mean = 0.9 * mean + 0.1 * grad**2
    speed = 0.8 * speed + 0.05 * grad / np.sqrt(mean + 0.5)
    value = value - speed
    np.testing.assert_allclose(params["kernel"], value, rtol=1e-5)


def test_norms_alone_moves_nothing_else():
  params = tiny().init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]
  sgd = optimizer.sgd(lambda _: 1.0, momentum=0.9, nesterov=True, weight_decay=0.25)
  tx = optimizer.norms_alone(sgd)
  updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
  for path, update in jax.tree_util.tree_leaves_with_path(updates):
    is_norm = {p.key for p in path} & {"clean", "adv"}
    assert bool(jnp.all(update != 0)) == bool(is_norm), path


def test_the_rate_counts_whole_256s_and_smaller_batches_in_proportion():
  for batch, whole in ((256, 1), (511, 1), (512, 2), (1000, 3), (4096, 16)):
    assert optimizer.peak_rate(0.1, batch) == 0.1 * whole
  assert optimizer.peak_rate(0.8, 64) == 0.2  # the mini scale


def test_a_cosine_falls_from_the_peak_to_nothing():
  values = {"peak": 1.6, "steps": 100, "steps_per_epoch": 10, "warmup_from": 0.1}
  rate = optimizer.cosine_schedule(**values, warmup_epochs=2.0)
  found = [float(rate(step)) for step in (0, 10, 20, 60, 100)]
  np.testing.assert_allclose(found, [0.1, 0.85, 1.6, 0.8, 0.0], atol=1e-6)
  at_once = optimizer.cosine_schedule(**values, warmup_epochs=0.0)
  np.testing.assert_allclose([at_once(0), at_once(50)], [1.6, 0.8], rtol=1e-6)
  short = optimizer.cosine_schedule(**values, warmup_epochs=50.0)  # never over
  assert np.isfinite(float(short(100)))


def test_a_bias_beside_a_kernel_is_no_norm():
  params = {
    "Conv_0": {"kernel": 1, "bias": 2},
    "stage": {
      "norm": {"clean": {"scale": 3, "bias": 4}},
      "fc": {"bias": 5, "kernel": 6},
    },
    "gamma": 7,
  }
  assert optimizer.norms(params) == {
    "Conv_0": {"kernel": False, "bias": False},
    "stage": {
      "norm": {"clean": {"scale": True, "bias": True}},
      "fc": {"bias": False, "kernel": False},
    },
    "gamma": False,
  }
