"""Plain PGD stays in its ball, begins as FGSM, and keeps what it has found."""

import functools

import jax
import jax.numpy as jnp
import networks
import numpy as np
import pytest

from robustjax.attacks import losses
from robustjax.attacks.ascent import Ascent
from robustjax.attacks.balls import Ball

EPS = {"linf": 6.0, "l2": 40.0}
IMAGES = jnp.asarray(networks.IMAGES[:24], jnp.float32)
LABELS = networks.function()(IMAGES).argmax(-1)
KEYS = jax.random.split(jax.random.key(1), 24)
smooth = networks.function()


@functools.partial(
  jax.jit, static_argnames=("norm", "steps", "until_broken", "step_size")
)
def attack(start, norm="linf", steps=10, until_broken=False, step_size=None):
  ball = Ball(norm, EPS[norm])
  search = Ascent(ball, step_size or EPS[norm] / 4, steps, until_broken)
  loss = lambda logits: losses.cross_entropy(logits, LABELS)  # noqa: E731
  return search(smooth, loss, IMAGES, LABELS, start)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_it_returns_is_what_it_says(norm):
  ball = Ball(norm, EPS[norm])
  start = ball.on_face(IMAGES, KEYS)
  found = attack(start, norm)
  for adv in (found.adv, found.best, found.last):
    assert float(ball.size(adv - IMAGES).max()) <= EPS[norm] * (1 + 1e-4)
    assert float(adv.min()) >= 0 and float(adv.max()) <= 255
  wrong = smooth(found.adv).argmax(-1) != LABELS
  np.testing.assert_array_equal(wrong, found.broken)
  assert 0 < int(found.broken.sum()) < 24
  best = losses.cross_entropy(smooth(found.best), LABELS)
  np.testing.assert_allclose(best, found.loss, rtol=1e-4, atol=1e-5)
  assert (found.loss >= losses.cross_entropy(smooth(start), LABELS) - 1e-5).all()
  last = losses.cross_entropy(smooth(found.last), LABELS)
  assert (found.loss >= last - 1e-5).all()


def test_one_step_from_the_image_is_the_fast_gradient_sign():
  found = attack(IMAGES, steps=1, step_size=EPS["linf"])
  total = lambda x: losses.cross_entropy(smooth(x), LABELS).sum()  # noqa: E731
  step = EPS["linf"] * jnp.sign(jax.grad(total)(IMAGES))
  np.testing.assert_allclose(found.last, jnp.clip(IMAGES + step, 0, 255), atol=1e-3)


def test_until_broken_an_image_goes_the_same_way_and_then_stays():
  start = Ball("linf", EPS["linf"]).on_face(IMAGES, KEYS)
  free, held = attack(start), attack(start, until_broken=True)
  np.testing.assert_array_equal(free.broken, held.broken)
  np.testing.assert_array_equal(free.steps, held.steps)
  at = np.asarray(held.steps)
  # The first misclassified iterate is the last that it made.
  for n in np.unique(at[np.asarray(held.broken)]):
    there = attack(start, steps=int(n)).last if n else start
    rows = np.asarray(held.broken) & (at == n)
    np.testing.assert_allclose(held.adv[rows], there[rows], atol=1e-3)
  rest = ~np.asarray(held.broken)
  np.testing.assert_array_equal(free.last[rest], held.last[rest])
