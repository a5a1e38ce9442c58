"""FAB finds the nearest point of another class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_attacks_apgd import smooth

from robustjax.attacks import fab


def linear(weights, bias):
  def logits_fn(x):
    score = x.reshape(len(x), -1) @ weights + bias
    return jnp.stack([-score, score, jnp.full_like(score, -1e6)], -1) / 2

  return logits_fn


def test_of_a_linear_network_it_is_the_known_distance():
  """|score| over the sum of |weights|, where no pixel meets 0 or 255."""
  weights = jax.random.normal(jax.random.key(0), (48,))
  images = 127.0 + 20 * jax.random.normal(jax.random.key(1), (6, 4, 4, 3))
  logits_fn = linear(weights, -127.0 * weights.sum())
  labels = logits_fn(images).argmax(-1)
  found = fab.FAB(20)(logits_fn, images, labels, 1 - labels)
  score = jnp.abs((images.reshape(6, -1) - 127.0) @ weights)
  np.testing.assert_allclose(found.distance, score / jnp.abs(weights).sum(), rtol=0.06)
  assert (logits_fn(found.adv).argmax(-1) != labels).all()


def test_a_way_to_a_plane_is_the_shortest_of_all():
  """Against a search over its length, with pixels that meet 0 and 255 on the way."""
  rng = np.random.default_rng(0)
  x = rng.uniform(0, 255, (40, 12)).astype(np.float32)
  normal = rng.normal(size=(40, 12)).astype(np.float32)
  normal[:, 3] = 0
  level = (normal * x).sum(-1) + rng.normal(size=40).astype(np.float32) * 500
  way = np.asarray(
    fab._to_plane(jnp.asarray(x), jnp.asarray(normal), jnp.asarray(level))
  )
  assert (x + way > -1e-3).all() and (x + way < 255.001).all() and not way[:, 3].any()
  sign = np.where((normal * x).sum(-1) > level, -1.0, 1.0)[:, None] * np.sign(normal)
  met = 0
  for i in range(40):
    lengths = np.linspace(0, 255, 25501)[:, None]
    moved = np.clip(x[i] + lengths * sign[i], 0, 255)
    beyond = ((moved * normal[i]).sum(-1) - level[i]) * np.sign(
      (x[i] * normal[i]).sum() - level[i]
    ) <= 0
    if beyond.any():
      met += 1
      assert abs(np.abs(way[i]).max() - lengths[beyond.argmax(), 0]) < 0.05
    else:  # as far as it goes
      np.testing.assert_allclose(x[i] + way[i], moved[-1], atol=1e-2)
  assert 0 < met < 40


@pytest.mark.parametrize("rank", [2, 3])
def test_what_it_returns_is_misclassified_at_its_distance(rank):
  images = jax.random.uniform(jax.random.key(0), (12, 4, 4, 3), maxval=255.0)
  logits = smooth(images)
  labels, targets = logits.argmax(-1), jnp.argsort(logits, -1)[:, -rank]
  found = jax.jit(lambda *a: fab.FAB(30)(smooth, *a))(images, labels, targets)
  near = jnp.isfinite(found.distance)
  assert near.sum() >= 6
  assert (smooth(found.adv)[near].argmax(-1) != labels[near]).all()
  size = jnp.abs(found.adv - images).max((1, 2, 3))
  np.testing.assert_allclose(size[near], found.distance[near], rtol=1e-4)
  assert float(found.adv.min()) >= 0 and float(found.adv.max()) <= 255
