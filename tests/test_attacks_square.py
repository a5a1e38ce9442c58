"""Square never loses what it has, asks each image its own questions, and goes on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_attacks_apgd import smooth

from robustjax.attacks import losses
from robustjax.attacks.balls import Ball
from robustjax.attacks.square import Square

ATTACK = Square(Ball("linf", 8.0), queries=200)
KEYS = jax.random.split(jax.random.key(3), 12)


@pytest.fixture(scope="module")
def batch():
  images = jax.random.uniform(jax.random.key(0), (12, 4, 4, 3), maxval=255.0)
  return images, smooth(images).argmax(-1)


@pytest.fixture(scope="module")
def search(batch):
  return jax.jit(lambda *a: ATTACK(smooth, *a))(*batch, KEYS)


def test_it_stays_within_eps_and_says_the_margin(batch, search):
  images, labels = batch
  assert float(jnp.abs(search.adv - images).max()) <= 8.0 + 1e-4
  assert float(search.adv.min()) >= 0 and float(search.adv.max()) <= 255
  margin = -losses.margin(smooth(search.adv), labels)
  np.testing.assert_allclose(search.margin, margin, rtol=1e-4, atol=1e-5)
  assert 0 < int(search.broken.sum()) < 12
  start = ATTACK.start(smooth, images, labels, KEYS)
  assert (search.margin <= start.margin).all() and (search.margin < start.margin).any()
  assert (search.queries[~search.broken] == 201).all()
  assert (search.queries[search.broken] < 201).all()


def test_parts_are_the_whole(batch, search):
  images, labels = batch
  parts = ATTACK.start(smooth, images, labels, KEYS)
  for first, count in ((0, 7), (7, 60), (67, 133)):
    parts = ATTACK.advance(smooth, images, labels, KEYS, parts, first, count)
  np.testing.assert_allclose(parts.adv, search.adv, atol=1e-4)
  np.testing.assert_array_equal(parts.queries, search.queries)


def test_an_image_knows_no_batch(batch, search):
  images, labels = batch
  alone = ATTACK(smooth, images[3:5], labels[3:5], KEYS[3:5])
  np.testing.assert_allclose(alone.adv, search.adv[3:5], atol=1e-4)


def test_squares_shrink_as_officially():
  """p of 0.8, halved after 10, 50, 200, ... queries; a side of sqrt(p h w)."""
  sides = [
    int(ATTACK.side(jnp.array(q), 28, 28)) for q in (0, 10, 11, 50, 51, 201, 4001)
  ]
  shares = [0.8, 0.8, 0.4, 0.4, 0.2, 0.1, 0.8 / 128]
  assert sides == [round((share * 784) ** 0.5) for share in shares]
  assert int(ATTACK.side(jnp.array(9000), 2, 2)) == 1
