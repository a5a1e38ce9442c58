"""A ReLU that keeps signs alone computes what the other one does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robustjax.models import norm as norms
from robustjax.models import relu, resnet

NORMS = {"mbn": norms.batch(("clean", "adv")), "gn": norms.group(2)}


def test_value_and_gradient_are_relus():
  x = jnp.asarray([-2.0, -0.0, 0.0, 1e-30, 3.0])
  kept = jax.vjp(relu.keeping_signs, x)
  usual = jax.vjp(jax.nn.relu, x)
  np.testing.assert_array_equal(kept[0], usual[0])
  np.testing.assert_array_equal(kept[1](x)[0], usual[1](x)[0])


def test_a_byte_an_element_is_kept():
  _, pull = jax.vjp(relu.keeping_signs, jnp.ones(1000, jnp.bfloat16))
  assert sum(x.nbytes for x in jax.tree.leaves(pull)) == 1000


@pytest.mark.parametrize(
  "norm, dtype, padding",
  [
    *((norm, "float32", "SAME") for norm in NORMS),
    ("mbn", "float32", "symmetric"),
    ("mbn", "bfloat16", "SAME"),
  ],
)
def test_logits_and_gradients_by_pixel_are_the_same(norm, dtype, padding):
  """The stem pools before it cuts off, and is computed again; ties are at 0 alone."""
  near = {"float32": 1e-6, "bfloat16": 4e-3}[dtype]
  make = {"norm": NORMS[norm], "num_classes": 5, "width": 8, "padding": padding}
  nets = [
    resnet.make((1, 1), **make, dtype=jnp.dtype(dtype), keep_signs=keep)
    for keep in (False, True)
  ]
  images = jax.random.uniform(jax.random.key(0), (2, 32, 32, 3), maxval=255.0)
  variables, same = (resnet.initial(n, jax.random.key(1), images) for n in nets)
  jax.tree.map(np.testing.assert_array_equal, variables, same)
  # Scales of 0, which blocks begin with, would hide what is behind them.
  other = jax.random.key(2)
  variables = jax.tree.map(
    lambda v: v + 0.1 * jax.random.uniform(other, v.shape), variables
  )

  def loss(x, net):
    logits = net.apply(variables, x)
    return jnp.sum(logits * jnp.arange(5)), logits

  (usual, logits), (kept, again) = (
    jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)(images, net) for net in nets
  )
  scale = jnp.max(jnp.abs(usual))
  assert scale > 0
  np.testing.assert_allclose(again, logits, near, near * jnp.max(jnp.abs(logits)))
  np.testing.assert_allclose(kept / scale, usual / scale, atol=near)
