"""The order's promises: every epoch is another permutation of all images."""

import numpy as np
import pytest

from robustjax.data import order


@pytest.mark.parametrize("n", [1, 2, 3, 5, 64, 65, 1000])
def test_every_epoch_is_a_permutation(n):
  for epoch in range(3):
    records = [order.record(epoch * n + i, n, seed=11) for i in range(n)]
    assert {e for e, _ in records} == {epoch}
    assert sorted(i for _, i in records) == list(range(n))


def test_epochs_and_seeds_differ():
  def images(epoch, seed):
    return tuple(order.record(epoch * 200 + i, 200, seed)[1] for i in range(200))

  orders = {images(epoch, seed) for epoch in range(4) for seed in (0, 1, 2**32 - 1)}
  assert len(orders) == 12
  assert tuple(range(200)) not in orders


def test_the_order_mixes():
  # A shuffle that kept neighbours together would put one class into one batch,
  # were the images sorted by class.
  n = 1000
  places = np.array([order.record(i, n, seed=3)[1] for i in range(n)])
  means = places.reshape(10, 100).mean(axis=1)
  assert np.abs(means - n / 2).max() < 120
  assert np.mean(np.abs(np.diff(places)) < 10) < 0.05


def test_steps_per_epoch():
  assert order.steps_per_epoch(1281167, 4096) == 313
  assert order.steps_per_epoch(1281167, 256) == 5005
  assert order.steps_per_epoch(10, 4096) == 1


def test_seeds_reach_the_rng():
  def draw(*key):
    return order.augmentation_rng(*key).integers(2**62)

  keys = [(s, e, i) for s in (0, 1, 2**32 - 1) for e in (0, 1) for i in (0, 1, 2)]
  assert len({draw(*key) for key in keys}) == len(keys)
  assert draw(1, 2, 3) == draw(1, 2, 3)
