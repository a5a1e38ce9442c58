"""What a gradient does not explain of a function's differences is measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from audit_networks import EFFORT, EPS, blobs, faulty, mlp, network, trained

from robustjax.audit import check
from robustjax.audit.differences import differences
from robustjax.audit.programs import Programs
from robustjax.runtime import parallel

LIMIT = check.RULES["differences"].limit


def unexplained(net, norm="linf", eps=EPS):
  images, labels = blobs(48)
  rows = {"image": images, "label": labels, "index": labels, "target": labels}
  mesh = parallel.mesh(jax.devices()[:2])
  found = differences(Programs(net, rows, norm, 0, mesh, EFFORT), eps, 0)
  return found.unexplained.sum() / found.total.sum()


def half_precision(variables, images):
  halves = jax.tree.map(lambda v: v.astype(jnp.bfloat16), variables)
  x = images.reshape(len(images), -1).astype(jnp.bfloat16) / 127.5 - 1.0
  return jax.nn.relu(x @ halves["in"] + halves["bias"]) @ halves["out"]


def clipped(variables, images):
  return mlp(variables, jnp.clip(images, 0, 255))


@pytest.mark.parametrize(
  ("norm", "eps"), [("linf", EPS), ("linf", 0.5), ("l2", 8 * EPS)]
)
def test_an_honest_gradient_explains_them(norm, eps):
  assert abs(unexplained(network(mlp, trained()), norm, eps)) < 0.01


@pytest.mark.parametrize("logits", [half_precision, clipped])
def test_so_it_does_with_little_precision_and_at_the_limits(logits):
  assert abs(unexplained(network(logits, trained()))) < LIMIT / 2


@pytest.mark.parametrize(
  ("fault", "about"),
  [
    ("gradient of half", 1 / 3),
    ("gradient zero", 1.0),
    ("gradient not a number", 1.0),
    ("gradient negated", 2.0),
  ],
)
def test_a_gradient_of_another_function_does_not(fault, about):
  assert unexplained(faulty(fault)) == pytest.approx(about, abs=0.1)


def test_where_nothing_differs_nothing_is_to_explain():
  constant = network(lambda v, x: jnp.zeros((len(x), 5)) + v, jnp.arange(5.0))
  images, labels = blobs(4)
  rows = {"image": images, "label": labels, "index": labels, "target": labels}
  programs = Programs(
    constant, rows, "linf", 0, parallel.mesh(jax.devices()[:2]), EFFORT
  )
  found = differences(programs, EPS, 0)
  np.testing.assert_array_equal(found.unexplained, 0)
