"""Losses rise as an image comes nearer to being misclassified."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robustjax.attacks import losses

LOGITS = jax.random.normal(jax.random.key(0), (64, 7))
LABELS = jnp.arange(64) % 7
TARGETS = (LABELS + 1 + jnp.arange(64) % 6) % 7


def test_a_margin_above_zero_is_a_mistake():
  wrong = LOGITS.argmax(-1) != LABELS
  assert 0 < wrong.sum() < 64
  np.testing.assert_array_equal(losses.margin(LOGITS, LABELS) > 0, wrong)
  np.testing.assert_array_equal(losses.dlr(LOGITS, LABELS) > 0, wrong)


@pytest.mark.parametrize(
  "loss",
  [
    lambda logits: losses.dlr(logits, LABELS),
    lambda logits: losses.targeted_dlr(logits, LABELS, TARGETS),
  ],
)
def test_a_ratio_knows_neither_shift_nor_scale(loss):
  np.testing.assert_allclose(loss(3.0 * LOGITS - 5.0), loss(LOGITS), rtol=1e-4)


def test_ratios_are_those_of_sorted_logits():
  """Croce & Hein 2020, equations 6 and 7, by hand."""
  for i in range(64):
    logits, y, t = np.asarray(LOGITS[i]), int(LABELS[i]), int(TARGETS[i])
    a, _, c, d = sorted(logits)[::-1][:4]
    other = max(np.delete(logits, y))
    ratio = -(logits[y] - other) / (a - c)
    np.testing.assert_allclose(losses.dlr(LOGITS, LABELS)[i], ratio, rtol=1e-4)
    ratio = -(logits[y] - logits[t]) / (a - (c + d) / 2)
    found = losses.targeted_dlr(LOGITS, LABELS, TARGETS)[i]
    np.testing.assert_allclose(found, ratio, rtol=1e-4)


def test_targeted_losses_rise_towards_the_target():
  towards = LOGITS + 0.1 * jax.nn.one_hot(TARGETS, 7)
  for loss in (
    lambda logits: losses.targeted_cross_entropy(logits, TARGETS),
    lambda logits: losses.targeted_dlr(logits, LABELS, TARGETS),
  ):
    rises = loss(towards) > loss(LOGITS)
    # A ratio's distance grows too where the target is the largest logit.
    assert rises[LOGITS.argmax(-1) != TARGETS].all()
