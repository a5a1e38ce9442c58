"""What every adversarial image owes: the cube, the range, its own randomness."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import CLASSES, lively, tiny

from robustjax.attacks import pgd
from robustjax.models import norm as norms

EPS = 16.0


@pytest.fixture(scope="module")
def setup():
  """A net with logits, 16 images with extreme pixels among them, targets, keys."""
  net = tiny(norms.batch())
  images = jax.random.uniform(jax.random.key(1), (16, 8, 8, 3), maxval=255.0)
  images = images.at[:4].set(0.0).at[4:8].set(255.0)
  variables = lively(net.init(jax.random.key(0), images))
  keys = pgd.image_keys(jax.random.key(2), jnp.arange(16))
  labels = jnp.arange(16) % CLASSES
  targets = pgd.random_targets(labels, CLASSES, keys)
  return jax.jit(lambda x: net.apply(variables, x)), images, targets, keys


def inside(adv, images, eps):
  np.testing.assert_array_less(jnp.abs(adv - images), eps + 1e-3)
  assert adv.min() >= 0 and adv.max() <= 255


@pytest.mark.parametrize("steps, step_size", [(0, 1.0), (1, 40.0), (7, 4.0), (30, 1.0)])
def test_every_iterate_is_an_image_within_eps(setup, steps, step_size):
  logits_fn, images, targets, keys = setup
  attack = pgd.PGD(EPS, step_size, steps, clean_start=0.2)
  inside(attack(logits_fn, images, targets, keys), images, EPS)


def test_one_step_from_a_clean_start_is_targeted_fgsm(setup):
  logits_fn, images, targets, keys = setup

  def loss(x):
    one_hot = jax.nn.one_hot(targets, CLASSES)
    return -jnp.sum(one_hot * jax.nn.log_softmax(logits_fn(x)))

  gradient = jax.grad(loss)(images)
  expected = jnp.clip(images - 2.0 * jnp.sign(gradient), 0, 255)
  adv = pgd.PGD(EPS, 2.0, 1, clean_start=1.0)(logits_fn, images, targets, keys)
  np.testing.assert_array_equal(adv, expected)


def test_it_moves_towards_the_target(setup):
  logits_fn, images, targets, keys = setup
  attack = pgd.PGD(EPS, 4.0, 20)
  loss = optax.softmax_cross_entropy_with_integer_labels
  before = loss(logits_fn(attack.start(images, keys)), targets)
  after = loss(logits_fn(attack(logits_fn, images, targets, keys)), targets)
  # The all-black and all-white images saturate this net; the others move.
  assert jnp.all(after[8:] < before[8:]) and jnp.all(after <= before + 1e-3)


def test_clean_start_has_its_probability_by_image():
  images = jnp.full((4000, 2, 2, 1), 128.0)
  keys = pgd.image_keys(jax.random.key(0), jnp.arange(4000))
  start = pgd.PGD(EPS, 1.0, 0, clean_start=0.2).start(images, keys)
  clean = jnp.all(start == images, (1, 2, 3))
  assert 0.17 < clean.mean() < 0.23
  noise = (start - images)[~clean]
  assert abs(noise.mean()) < 0.3 and 9.0 < noise.std() < 9.5  # 16 / sqrt(3) = 9.24


def test_targets_are_uniform_over_the_other_classes():
  labels = jnp.arange(9000) % 10
  keys = pgd.image_keys(jax.random.key(0), jnp.arange(9000))
  targets = pgd.random_targets(labels, 10, keys)
  assert not jnp.any(targets == labels)
  shifts = np.bincount((targets - labels) % 10, minlength=10)[1:]
  assert shifts.min() > 850 and shifts.max() < 1150


def test_randomness_belongs_to_the_image_not_to_the_batch(setup):
  logits_fn, images, targets, keys = setup
  attack = pgd.PGD(EPS, 2.0, 5, clean_start=0.2)
  whole = attack(logits_fn, images, targets, keys)
  part = attack(logits_fn, images[5:9], targets[5:9], keys[5:9])
  np.testing.assert_allclose(whole[5:9], part, atol=1e-3)
  np.testing.assert_array_equal(
    attack.start(images, keys)[5:9], attack.start(images[5:9], keys[5:9])
  )


def test_advancing_in_parts_is_advancing_at_once(setup):
  logits_fn, images, targets, keys = setup
  attack = pgd.PGD(EPS, 1.0, 12)
  advance = jax.jit(lambda x, n: attack.advance(logits_fn, images, x, targets, n))
  start = attack.start(images, keys)
  np.testing.assert_array_equal(advance(advance(start, 5), 7), advance(start, 12))


def test_only_the_input_gradient_is_computed(setup):
  _, images, targets, keys = setup
  net = tiny(norms.batch())
  variables = net.init(jax.random.key(0), images)

  def through(params):
    def logits_fn(x):
      return net.apply({**variables, "params": params}, x)

    return pgd.PGD(EPS, 1.0, 2)(logits_fn, images, targets, keys).sum()

  gradient = jax.grad(through)(variables["params"])
  assert all(not jnp.any(g) for g in jax.tree.leaves(gradient))
  # 5 convolutions: forward, and their input gradients; no kernel gradient.
  text = jax.jit(through).lower(variables["params"]).compile().as_text()
  forward = jax.jit(lambda x: net.apply(variables, x)).lower(images).compile().as_text()
  count = text.count(" convolution("), forward.count(" convolution(")
  assert count[0] == 2 * count[1] > 0


def test_it_is_a_value():
  attack = pgd.PGD(eps=16.0, step_size=1.0, steps=30, clean_start=0.2)
  assert dataclasses.replace(attack, steps=10) == pgd.PGD(16.0, 1.0, 10, 0.2)
