"""Auto-PGD stays in its ball, finds what is there, and knows no batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robustjax.attacks import apgd, losses
from robustjax.attacks.balls import Ball

CLASSES, EPS = 5, {"linf": 8.0, "l2": 60.0}
KEYS = jax.random.split(jax.random.key(1), 12)


def smooth(images):
  """Logits of a small random network with curved boundaries."""
  rng = np.random.default_rng(0)
  first = jnp.asarray(rng.normal(size=(48, 16)) / 7, jnp.float32)
  second = jnp.asarray(rng.normal(size=(16, CLASSES)), jnp.float32)
  return jnp.tanh((images.reshape(len(images), -1) / 127.5 - 1) @ first) @ second


@pytest.fixture(scope="module")
def batch():
  """Random images near their faces of the cube, with the labels that they have."""
  images = jax.random.uniform(jax.random.key(0), (12, 4, 4, 3), maxval=255.0)
  return images, smooth(images).argmax(-1)


@functools.partial(jax.jit, static_argnames=("norm", "steps"))
def attack(images, labels, keys, norm="linf", steps=40):
  ball = Ball(norm, EPS[norm])
  loss = lambda logits: losses.dlr(logits, labels)  # noqa: E731
  start = ball.on_face(images, keys)
  made = apgd.APGD(ball, steps)
  return start, made(smooth, loss, images, labels, start)


def test_checkpoints_come_closer_together():
  """The official 22 % of the steps, then 3 % less each time, at least 6 %."""
  checkpoints = apgd.APGD(Ball("linf", 1.0)).checkpoints()
  assert checkpoints == [22, 41, 57, 70, 80, 87, 93, 99]
  assert apgd.APGD(Ball("linf", 1.0), steps=1).checkpoints() == [1]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_it_returns_is_what_it_says(batch, norm):
  images, labels = batch
  start, found = attack(images, labels, KEYS, norm)
  ball = Ball(norm, EPS[norm])
  for adv in (start, found.adv, found.best):
    assert float(ball.size(adv - images).max()) <= EPS[norm] * (1 + 1e-4)
    assert float(adv.min()) >= 0 and float(adv.max()) <= 255
  wrong = smooth(found.adv).argmax(-1) != labels
  np.testing.assert_array_equal(wrong, found.broken)
  assert 0 < int(found.broken.sum()) < 12
  loss = losses.dlr(smooth(found.best), labels)
  np.testing.assert_allclose(loss, found.loss, rtol=1e-4, atol=1e-6)
  assert (found.loss >= losses.dlr(smooth(start), labels)).all()
  assert (found.steps[~found.broken] == 40).all()


def test_an_image_knows_no_batch(batch):
  images, labels = batch
  _, whole = attack(images, labels, KEYS)
  back = slice(None, None, -1)
  _, turned = attack(images[back], labels[back], KEYS[back])
  _, part = attack(images[:5], labels[:5], KEYS[:5])
  np.testing.assert_allclose(turned.adv[back], whole.adv, atol=1e-3)
  np.testing.assert_allclose(part.adv, whole.adv[:5], atol=1e-3)


def test_more_steps_raise_the_loss(batch):
  images, labels = batch
  losses_of = [
    attack(images, labels, KEYS, steps=n)[1].loss.mean() for n in (2, 10, 40)
  ]
  assert losses_of[0] < losses_of[1] <= losses_of[2]


def test_a_linear_network_is_broken_where_it_can_be():
  """For a linear margin, its largest in the cube is known: every sign at its face."""
  weights = jax.random.normal(jax.random.key(2), (48,))
  images = jnp.full((8, 4, 4, 3), 127.0) + jnp.arange(8)[:, None, None, None]

  def logits_fn(x):
    score = (x.reshape(len(x), -1) - 127.0) @ weights - 200.0
    return jnp.stack([-score, score, *2 * [jnp.full_like(score, -1e6)]], -1)

  ball = Ball("linf", 8.0)
  labels = logits_fn(images).argmax(-1)
  margin = lambda logits: losses.margin(logits, labels)  # noqa: E731
  start = ball.on_face(images, KEYS[:8])
  found = apgd.APGD(ball, 20)(logits_fn, margin, images, labels, start)
  up = jnp.where(labels == 0, 1.0, -1.0)[:, None, None, None]
  best = images + 8.0 * jnp.sign(weights).reshape(4, 4, 3) * up
  np.testing.assert_allclose(found.best, best, atol=1e-3)
