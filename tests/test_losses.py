"""Equation 1 at any ratio, FD's smoothing, ALP."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robustjax.training import losses

LOGITS = jax.random.normal(jax.random.key(0), (6, 4))
LABELS = jnp.array([0, 1, 2, 3, 0, 1])


def test_smoothing_is_of_the_eps_over_k_form():
  log_p = jax.nn.log_softmax(LOGITS)
  target = np.full((6, 4), 0.1 / 4)
  target[np.arange(6), LABELS] = 0.9 + 0.1 / 4
  expected = -(target * log_p).sum(-1)
  found = losses.cross_entropy(LOGITS, LABELS, 0.1)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_no_smoothing_is_cross_entropy():
  found = losses.cross_entropy(LOGITS, LABELS, 0.0)
  expected = -jax.nn.log_softmax(LOGITS)[jnp.arange(6), LABELS]
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_equal_parts_are_equation_1_with_alpha_one_half():
  clean, adv = jnp.array([1.0, 2.0, 3.0]), jnp.array([5.0, 6.0, 10.0])
  found = losses.mixture({"clean": clean, "adv": adv})
  np.testing.assert_allclose(found, 0.5 * clean.mean() + 0.5 * adv.mean())


@pytest.mark.parametrize("kept", [1, 2, 5])
def test_adversarial_images_weigh_one_over_one_plus_r(kept):
  clean, adv = jnp.full((kept,), 2.0), jnp.full((5,), 7.0)
  weight = 1 / (1 + kept / 5)
  found = losses.mixture({"clean": clean, "adv": adv})
  np.testing.assert_allclose(found, weight * 7 + (1 - weight) * 2, rtol=1e-6)


def test_logit_pairing_is_the_mean_squared_distance_of_the_pairs():
  other = LOGITS + jnp.array([1.0, 0.0, -2.0, 0.0])
  np.testing.assert_allclose(losses.logit_pairing(LOGITS, other), 5.0, rtol=1e-5)
  assert losses.logit_pairing(LOGITS, LOGITS) == 0
