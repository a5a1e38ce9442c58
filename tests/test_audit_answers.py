"""Answers that depend on more than the image are found, and those no logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from audit_networks import CLASSES, EFFORT, blobs, mlp, network, trained

from robustjax.audit import answers, evidence
from robustjax.audit.programs import Programs
from robustjax.evaluation.network import Network
from robustjax.runtime import parallel

RNG = np.random.default_rng(0)


def asked(net, count=48):
  images, labels = blobs(count)
  index = np.arange(count, dtype=np.int32)
  rows = {"image": images, "label": labels, "index": index}
  mesh = parallel.mesh(jax.devices()[:2])
  return evidence.ask(Programs(net, rows, "linf", 0, mesh, EFFORT), 0)


def failing(net, count=48):
  made = answers.checks(asked(net, count))
  return {check.name for check in made if check.verdict != "clean"}


def noisy(size):
  """Noise from the host: drawn at every pass."""

  def logits(variables, images):
    shape = jax.ShapeDtypeStruct((len(images), CLASSES), jnp.float32)
    draw = lambda: RNG.normal(size=shape.shape).astype(np.float32)  # noqa: E731
    return mlp(variables, images) + size * jax.pure_callback(draw, shape)

  return logits


def batch_statistics(variables, images):
  mean, deviation = images.mean(0), images.std(0)
  return mlp(variables, 127 + 50 * (images - mean) / (1 + deviation))


def drawn_while_traced(variables, images):
  return mlp(variables, images) + RNG.normal(size=CLASSES).astype(np.float32)


def neighbours(variables, images):
  logits = mlp(variables, images)
  return logits + 0.1 * jnp.roll(logits, 1, 0)


@pytest.mark.parametrize("count", [48, 41])
def test_an_honest_network_gives_no_sign(count):
  assert failing(network(mlp, trained()), count) == set()


def test_outputs_of_least_squares_are_no_probabilities():
  """They add up to 1, and of many images all lie in 0..1."""
  images, labels = blobs(1024, seed=7)
  flat = lambda x: x.reshape(len(x), -1) / 127.5 - 1.0  # noqa: E731
  ones = np.ones((1024, 1))
  solved = np.linalg.lstsq(np.append(flat(images), ones, 1), np.eye(CLASSES)[labels])
  weights = jnp.asarray(solved[0], jnp.float32)
  net = network(lambda v, x: flat(x) @ v[:-1] + v[-1], weights)
  assert 0.1 < answers.probabilities(asked(net)).number < 0.9
  assert failing(net) == set()


@pytest.mark.parametrize(
  ("logits", "name"),
  [
    (batch_statistics, "split batch"),
    (batch_statistics, "permuted batch"),
    (neighbours, "permuted batch"),
    (lambda v, x: (lambda z: z / z.max())(mlp(v, x)), "split batch"),
    (noisy(0.1), "repeated pass"),
    (noisy(0.002), "repeated pass"),
    (lambda v, x: 1e4 + noisy(0.1)(v, x), "repeated pass"),
    (drawn_while_traced, "attacked network"),
    (lambda v, x: jax.nn.softmax(mlp(v, x)), "probabilities"),
    (lambda v, x: 1e6 + mlp(v, x), "range of logits"),
    (lambda v, x: 1000 * mlp(v, x), "range of logits"),
  ],
)
def test_a_fault_is_caught_by_its_check(logits, name):
  assert name in failing(network(logits, trained()))


def test_gradients_of_another_network_are_found():
  other = jax.tree.map(lambda x: x + 0.05, trained())
  net = Network("made", "all", trained(), mlp, lambda _, x: mlp(other, x))
  assert failing(net) == {"attacked network"}


def test_images_without_numbers_are_named():
  images, _ = blobs(48)
  dark = images.mean((1, 2, 3)) < 125

  def logits(variables, x):
    mean = x.astype(jnp.float32).mean((1, 2, 3))
    return jnp.where(mean[:, None] < 125, jnp.nan, mlp(variables, x))

  found = answers.finite(asked(network(logits, trained())))
  assert found.verdict == "masked" and found.number == pytest.approx(dark.mean())
  assert found.images == list(np.flatnonzero(dark)[:10])


def test_a_distance_is_relative_and_without_the_mean():
  one = np.array([[1.0, 0.0, -1.0]])
  assert answers.apart(one, one + 3)[0] < 1e-6
  assert answers.apart(one, 4 * one)[0] == pytest.approx(0.75)
  assert answers.apart(1e-20 * one, 4e-20 * one)[0] == pytest.approx(0.75)
  assert answers.apart(one, -one)[0] == pytest.approx(2)
