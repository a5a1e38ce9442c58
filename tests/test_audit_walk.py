"""A walk takes down what it meets, and is FGSM or PGD by its numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from audit_networks import CLASSES, EPS, blobs, mlp, trained

from robustjax.attacks import losses
from robustjax.attacks.balls import Ball
from robustjax.audit import walk

BALL = Ball("linf", EPS)


def net(images):
  return mlp(trained(), images)


@pytest.fixture(scope="module")
def batch():
  trained()  # not while something is traced
  images, labels = blobs(24)
  return jnp.asarray(images, jnp.float32), jnp.asarray(labels)


@jax.jit
def walked(images, labels, which, size, steps, start):
  attack = walk.PGD(BALL, size, steps, 20)
  loss = walk.loss(which, labels, (labels + 1) % CLASSES)
  return attack(net, loss, images, labels, start)


def test_one_step_of_eps_is_fgsm(batch):
  images, labels = batch
  found = walked(images, labels, 0, EPS, 1, images)
  loss = lambda x: losses.cross_entropy(net(x), labels).sum()  # noqa: E731
  fgsm = jnp.clip(images + EPS * jnp.sign(jax.grad(loss)(images)), 0, 255)
  np.testing.assert_allclose(found.last, fgsm, atol=1e-3)


def test_it_takes_down_what_it_meets(batch):
  images, labels = batch
  found = walked(images, labels, 0, 3.0, 12, images)
  assert float(jnp.abs(found.last - images).max()) <= EPS + 1e-3
  wrong = net(found.adv).argmax(-1) != labels
  np.testing.assert_array_equal(wrong, found.first <= 12)
  assert 0 < int(wrong.sum()) < 24 and (found.first[~wrong] == 13).all()
  at_end = losses.cross_entropy(net(found.last), labels)
  np.testing.assert_allclose(found.loss[:, 12], at_end, rtol=1e-3, atol=1e-5)
  assert np.isfinite(found.loss[:, :13]).all() and np.isnan(found.loss[:, 13:]).all()
  assert not found.flat.any()


def test_what_was_broken_on_the_way_is_kept(batch):
  """Pushed to its own class, an image that begins as another ends as itself."""
  images, labels = batch
  others = images[jnp.argsort(labels, stable=True)[::-1]]  # beginnings of any class
  attack = walk.PGD(Ball("linf", 255.0), 8.0, 20, 20)
  loss = walk.loss(walk.LOSSES.index("target"), labels, labels)
  found = attack(net, loss, images, labels, others)
  wrong, at_end = (net(x).argmax(-1) != labels for x in (found.adv, found.last))
  assert wrong[found.first == 0].all() and (found.first == 0).any()
  assert not at_end.any()


def test_fewer_steps_are_its_beginning(batch):
  images, labels = batch
  long, short = (walked(images, labels, 0, 3.0, n, images) for n in (12, 5))
  np.testing.assert_allclose(short.loss[:, :6], long.loss[:, :6], rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(short.first <= 5, long.first <= 5)


def test_a_target_is_come_nearer(batch):
  images, labels = batch
  found = walked(images, labels, walk.LOSSES.index("target"), 3.0, 12, images)
  targets = (labels + 1) % CLASSES
  before, after = (
    losses.at(net(x), targets) - losses.at(net(x), labels) for x in (images, found.last)
  )
  assert (after > before).all()


def test_a_zero_gradient_is_taken_down(batch):
  images, labels = batch
  attack = walk.PGD(BALL, 1.0, 2, 4)
  flat = lambda x: net(jnp.round(x))  # noqa: E731
  found = attack(flat, walk.loss(0, labels, labels), images, labels, images)
  np.testing.assert_array_equal(found.flat.sum(-1), 3)
  np.testing.assert_array_equal(found.last, images)


def test_scaled_divides_what_a_softmax_would_lose():
  logits, labels = jnp.array([[900.0, 300.0, 0.0], [3.0, 1.0, 0.0]]), jnp.array([0, 0])
  plain, scaled = (
    jax.grad(lambda z, n=n: walk.loss(walk.LOSSES.index(n), labels, labels)(z).sum())(
      logits
    )
    for n in ("ce", "scaled")
  )
  assert not plain[0].any() and scaled[0].any()
  np.testing.assert_allclose(scaled[1], plain[1], rtol=1e-6)


def test_dlr_of_few_classes_is_the_margin():
  logits, labels = jnp.array([[1.0, 4.0, 2.0]]), jnp.array([0])
  assert float(walk.loss(walk.LOSSES.index("dlr"), labels, labels)(logits)[0]) == 3.0
