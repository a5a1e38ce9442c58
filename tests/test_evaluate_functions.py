"""A function of images is a network whose weights are arguments."""

import jax
import jax.numpy as jnp
import networks
import numpy as np
import pytest

from robustjax.errors import UserError
from robustjax.evaluate import functions


def test_what_a_function_closes_over_becomes_arguments():
  weights = jnp.asarray(networks.WEIGHTS["first"])
  closed = lambda x: jnp.tanh(x.reshape(len(x), -1) @ weights)  # noqa: E731
  consts, logits = functions.hoisted("it", closed, (4, 4, 3))
  assert [c.shape for c in consts] == [weights.shape]
  for count in (1, 5):  # another batch than it was traced with
    images = jnp.asarray(networks.IMAGES[:count], jnp.float32)
    np.testing.assert_allclose(logits(consts, images), closed(images), rtol=1e-6)
  doubled = [2 * c for c in consts]
  other = jnp.tanh(images.reshape(5, -1) @ (2 * weights))
  np.testing.assert_allclose(jax.jit(logits)(doubled, images), other, rtol=1e-5)


@pytest.mark.parametrize(
  ("made", "told"),
  [
    (lambda x: (x.mean((1, 2)), x), r"makes \[2, 3\], \[2, 4, 4, 3\] of images"),
    (lambda x: x.mean((1, 2, 3)), r"makes \[2\] of images"),
    (lambda x: x.mean((0, 1)), r"makes \[4, 3\] of images"),
    (lambda x: None, "makes nothing of images"),
    (lambda x: 1 / 0, "cannot be computed by JAX .* ZeroDivisionError"),
  ],
)
def test_what_makes_no_logits_is_a_line(made, told):
  with pytest.raises(UserError, match=f"it {told}"):
    functions.hoisted("it", made, (4, 4, 3))
