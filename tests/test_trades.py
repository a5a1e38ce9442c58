"""TRADES: cross-entropy of clean images, and how far adversarial ones are from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robustjax.training import losses, trades

RNG = np.random.default_rng(0)
CLEAN = jnp.asarray(RNG.normal(size=(3, 4, 5)), jnp.float32)
ADV = jnp.asarray(RNG.normal(size=(3, 6, 5)), jnp.float32)
LABELS = jnp.asarray(RNG.integers(0, 5, (3, 6)))


def test_it_is_its_definition_over_the_pairs():
  p, q = (np.asarray(jax.nn.softmax(x)) for x in (CLEAN, ADV[:, :4]))
  kl = (p * np.log(p / q)).sum(-1).mean()
  right = np.take_along_axis(p, np.asarray(LABELS)[:, :4, None], -1)
  loss, others = trades.loss(CLEAN, ADV, LABELS, beta=6.0, label_smoothing=0.0)
  np.testing.assert_allclose(others["kl"], kl, rtol=1e-5)
  np.testing.assert_allclose(loss, -np.log(right).mean() + 6 * kl, rtol=1e-5)


def test_adversarial_images_without_a_clean_one_play_no_part():
  gradient = jax.grad(
    lambda adv: trades.loss(CLEAN, adv, LABELS, beta=1.0, label_smoothing=0.1)[0]
  )(ADV)
  assert not jnp.any(gradient[:, 4:]) and jnp.all(gradient[:, :4].any(-1))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_where_attacks_change_nothing_it_is_clean_training(smoothing):
  loss, others = trades.loss(
    CLEAN, CLEAN, LABELS[:, :4], beta=6.0, label_smoothing=smoothing
  )
  flat = CLEAN.reshape(-1, 5), LABELS[:, :4].reshape(-1)
  np.testing.assert_allclose(others["kl"], 0, atol=1e-6)
  np.testing.assert_allclose(loss, losses.cross_entropy(*flat, smoothing).mean(), 1e-5)
