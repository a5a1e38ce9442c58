"""TRADES' attack: within the ball, each image by itself, and the divergence grows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robustjax.attacks import kl

WEIGHTS = jax.random.normal(jax.random.key(5), (48, 5)) / 50
IMAGES = jax.random.randint(jax.random.key(6), (6, 4, 4, 3), 0, 256)
KEYS = jax.random.split(jax.random.key(7), 6)


def logits(x):
  return jnp.tanh(x.reshape(len(x), -1) @ WEIGHTS) * 3


def other(x):
  return logits(255 - x)


@jax.jit
def attacked(steps, images=IMAGES, keys=KEYS):
  return kl.attack(logits, logits, images, keys, eps=8.0, step_size=2.0, steps=steps)


@pytest.mark.parametrize("steps", [0, 1, 9])
def test_images_stay_within_the_ball_and_are_images(steps):
  adv = attacked(steps)
  assert adv.shape == IMAGES.shape and adv.dtype == jnp.float32
  assert jnp.abs(adv - IMAGES).max() <= 8 and adv.min() >= 0 and adv.max() <= 255
  assert jnp.any(adv != IMAGES)  # also without a step: where KL is 0 so is its gradient


def test_steps_drive_the_logits_apart():
  apart = [float(kl.divergence(logits(IMAGES), logits(attacked(n))).mean())
           for n in (0, 1, 4)]  # fmt: skip
  assert apart[0] < apart[1] < apart[2]


def test_an_image_is_attacked_by_itself():
  one = attacked(3, IMAGES[2:3], KEYS[2:3])
  np.testing.assert_allclose(one[0], attacked(3)[2], atol=1e-3)


def test_what_is_left_is_what_the_clean_branch_says():
  how = {"eps": 8.0, "step_size": 2.0, "steps": 6}
  adv = kl.attack(logits, other, IMAGES, KEYS, **how)
  before, after = (kl.divergence(other(IMAGES), logits(x)) for x in (IMAGES, adv))
  assert jnp.all(after > before)
  assert not jnp.any(jax.grad(lambda x: kl.attack(logits, other, x, KEYS, **how).sum())(
    IMAGES.astype(jnp.float32)))  # fmt: skip
