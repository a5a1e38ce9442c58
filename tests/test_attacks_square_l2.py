"""The L2 Square attack stays in its ball at every query and moves what it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_attacks_apgd import smooth

from robustjax.attacks import losses, square_l2
from robustjax.attacks.balls import Ball
from robustjax.attacks.square import Square

EPS = 60.0
ATTACK = Square(Ball("l2", EPS), queries=200)
KEYS = jax.random.split(jax.random.key(3), 12)


@pytest.fixture(scope="module")
def batch():
  images = jax.random.uniform(jax.random.key(0), (12, 4, 4, 3), maxval=255.0)
  return images, smooth(images).argmax(-1)


@pytest.fixture(scope="module")
def advance():
  return jax.jit(lambda *a: ATTACK.advance(smooth, *a))


@pytest.fixture(scope="module")
def search(batch):
  return jax.jit(lambda *a: ATTACK(smooth, *a))(*batch, KEYS)


def test_each_query_stays_in_the_ball_and_loses_nothing(batch, advance):
  images, labels = batch
  found = ATTACK.start(smooth, images, labels, KEYS)
  for query in range(25):
    size = ATTACK.ball.size(found.adv - images)
    assert float(size.max()) <= EPS * (1 + 1e-4)
    assert float(found.adv.min()) >= 0 and float(found.adv.max()) <= 255
    margin = -losses.margin(smooth(found.adv), labels)
    np.testing.assert_allclose(found.margin, margin, rtol=1e-4, atol=1e-5)
    after = advance(images, labels, KEYS, found, query, 1)
    assert (after.margin <= found.margin).all()
    found = after


def test_it_breaks_what_its_start_did_not(batch, search):
  start = ATTACK.start(smooth, *batch, KEYS)
  assert int(start.broken.sum()) < int(search.broken.sum()) < 12
  assert (search.queries[~search.broken] == 201).all()


def test_parts_are_the_whole(batch, advance, search):
  parts = ATTACK.start(smooth, *batch, KEYS)
  for first, count in ((0, 7), (7, 60), (67, 133)):
    parts = advance(*batch, KEYS, parts, first, count)
  np.testing.assert_allclose(parts.adv, search.adv, atol=1e-3)
  np.testing.assert_array_equal(parts.queries, search.queries)


def test_an_image_knows_no_batch(batch, search):
  images, labels = batch
  alone = ATTACK(smooth, images[3:5], labels[3:5], KEYS[3:5])
  np.testing.assert_allclose(alone.adv, search.adv[3:5], atol=1e-3)


def test_sides_are_odd_and_fit():
  """p of 0.8, halved after 10, 50, ... queries: sqrt(p h w), 3 at least, then odd."""
  sides = [int(ATTACK.side(jnp.array(q), 28, 28)) for q in (0, 11, 51, 201, 4001)]
  assert sides == [25, 19, 13, 9, 3]
  assert int(ATTACK.side(jnp.array(0), 4, 4)) == 4
  assert int(ATTACK.side(jnp.array(9000), 2, 2)) == 2


def test_an_exchange_moves_the_change_of_two_windows():
  """On the sphere it keeps each colour's norm, and all that is outside the windows."""
  change = jax.random.normal(jax.random.key(4), (9, 11, 3))
  eps = float(jnp.sqrt(jnp.square(change).sum()))
  new = square_l2.exchange(jax.random.key(5), change, jnp.array(3), eps)
  norms = [np.square(x).sum((0, 1)) for x in (change, new)]
  np.testing.assert_allclose(norms[1], norms[0], rtol=1e-3)
  touched = (np.asarray(new) != np.asarray(change)).any(-1)
  emptied = (np.asarray(new) == 0).all(-1)
  assert 9 < touched.sum() <= 18 and 0 < emptied.sum() <= 9


def test_a_grid_covers_the_image_but_for_its_rim():
  found = np.asarray(square_l2.grid(jax.random.key(0), (28, 32, 3)))
  tiles = found[1:26, 1:31].reshape(5, 5, 6, 5, 3)
  np.testing.assert_allclose(np.square(tiles).sum((1, 3)), 1, rtol=1e-5)
  assert not found[[0, 26, 27]].any() and not found[:, [0, 31]].any()
