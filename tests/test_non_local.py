"""Non-local blocks are their formulas, and know no order of positions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import lively

from robustjax.models import non_local, norm, residual

# With fewer channels than positions, and with more.
SHAPES = [(2, 4, 5, 6), (2, 3, 2, 8)]
KINDS = pytest.mark.parametrize(
  "embedded, shape", [(True, SHAPES[0]), (False, SHAPES[0]), (False, SHAPES[1])]
)


def block(embedded, dtype=jnp.float32):
  conv = functools.partial(residual.conv, "SAME", "lax", dtype, "highest")
  normalised = functools.partial(norm.BatchNorm, dtype=dtype)
  return non_local.NonLocal(conv, normalised, embedded, "highest")


def made(embedded, shape):
  """A block, its variables, and images to give it."""
  images = jax.random.normal(jax.random.key(1), shape)
  net = block(embedded)
  return net, net.init(jax.random.key(0), images), images


def by_hand(variables, images, embedded):
  """The same in plain numpy, a position at a time."""
  kernels = {
    name: np.asarray(layer["kernel"], np.float64)[0, 0]
    for name, layer in variables["params"].items()
    if "kernel" in layer
  }
  scale, bias, mean, var = (
    np.asarray(variables[kind]["bn"]["all"][name], np.float64)
    for kind, name in [
      ("params", "scale"), ("params", "bias"),
      ("batch_stats", "mean"), ("batch_stats", "var"),
    ]
  )  # fmt: skip
  out = []
  for x in np.asarray(images, np.float64).reshape(len(images), -1, images.shape[-1]):
    for here in x:
      if embedded:
        at = [here @ kernels["theta"] @ (kernels["phi"].T @ there) for there in x]
        weights = np.exp(np.array(at) / np.sqrt(images.shape[-1] // 2))
        weights /= weights.sum()
      else:
        weights = np.array([here @ there for there in x]) / len(x)
      y = (weights @ x) @ kernels["conv"]
      out.append(here + (y - mean) / np.sqrt(var + norm.EPSILON) * scale + bias)
  return np.reshape(out, images.shape)


@KINDS
def test_it_is_the_formula(embedded, shape):
  net, variables, images = made(embedded, shape)
  variables = lively(variables)
  found = net.apply(variables, images)
  np.testing.assert_allclose(found, by_hand(variables, images, embedded), rtol=2e-5)


@KINDS
def test_moved_positions_move_what_comes_out_and_nothing_else(embedded, shape):
  net, variables, images = made(embedded, shape)
  variables = lively(variables)
  order = np.random.default_rng(0).permutation(shape[1] * shape[2])

  def moved(x):
    return x.reshape(shape[0], -1, shape[-1])[:, order].reshape(shape)

  found = net.apply(variables, moved(images))
  np.testing.assert_allclose(
    found, moved(net.apply(variables, images)), rtol=1e-5, atol=1e-6
  )


@KINDS
def test_it_begins_as_the_identity_and_can_leave_it(embedded, shape):
  net, variables, images = made(embedded, shape)
  np.testing.assert_array_equal(net.apply(variables, images), images)
  assert not variables["params"]["bn"]["all"]["scale"].any()
  assert all(
    layer["kernel"].any() for name, layer in variables["params"].items() if name != "bn"
  )


def test_it_has_embeddings_of_half_the_channels_or_none():
  for embedded, names in (
    (True, {"theta", "phi", "conv", "bn"}),
    (False, {"conv", "bn"}),
  ):
    params = made(embedded, SHAPES[0])[1]["params"]
    assert set(params) == names
    assert params["conv"]["kernel"].shape == (1, 1, 6, 6)
  assert made(True, SHAPES[0])[1]["params"]["theta"]["kernel"].shape == (1, 1, 6, 3)


@KINDS
def test_it_computes_in_its_dtype(embedded, shape):
  net, variables, images = made(embedded, shape)
  variables = lively(variables)
  low = block(embedded, jnp.bfloat16).apply(variables, images.astype(jnp.bfloat16))
  assert low.dtype == jnp.bfloat16
  np.testing.assert_allclose(low, net.apply(variables, images), rtol=0.1, atol=0.1)
