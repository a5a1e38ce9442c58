"""The other forms are the convolution, with the same gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robustjax.models import conv

NUMBERS = ("NHWC", "HWIO", "NHWC")


@pytest.mark.parametrize(
  "side, size, stride, padding, groups",
  [
    (8, 3, 1, "SAME", 1),
    (8, 3, 2, "SAME", 1),
    (9, 3, 2, "SAME", 1),
    (9, 3, 2, ((1, 1), (1, 1)), 1),
    (9, 3, 1, "VALID", 1),
    (8, 1, 1, "SAME", 1),
    (9, 1, 2, "SAME", 1),
    (8, 7, 2, ((3, 3), (3, 3)), 1),
    (9, 3, 2, "SAME", 3),
  ],
)
@pytest.mark.parametrize("form", [conv.shifted, conv.fenced])
def test_equals_lax(form, side, size, stride, padding, groups):
  noise = np.random.default_rng(0)
  x = noise.normal(size=(2, side, side, 3 * groups)).astype(np.float32)
  kernel = noise.normal(size=(size, size, 3, 4 * groups)).astype(np.float32)
  others = {"dimension_numbers": NUMBERS, "feature_group_count": groups}

  def theirs(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, padding, **others)

  def ours(x, kernel):
    return form(x, kernel, (stride,) * 2, padding, **others)

  @jax.jit
  def both(x, kernel):
    gradients = (
      jax.grad(lambda *a, f=f: jnp.sum(jnp.sin(f(*a))), (0, 1)) for f in (ours, theirs)
    )
    return [
      (ours(x, kernel), theirs(x, kernel)),
      *zip(*(g(x, kernel) for g in gradients), strict=True),
    ]

  for got, want in both(x, kernel):
    np.testing.assert_allclose(got, want, atol=1e-3)


def test_refuses_what_it_does_not_know():
  images, kernel = jnp.ones((1, 8, 8, 3)), jnp.ones((3, 3, 3, 3))
  with pytest.raises(NotImplementedError):
    conv.shifted(images, kernel, (1, 1), "SAME", rhs_dilation=(2, 2))


@pytest.mark.parametrize(("stride", "fences"), [(1, 0), (2, 1)])
def test_a_strided_convolution_is_kept_apart(stride, fences):
  traced = jax.make_jaxpr(
    lambda x, kernel: conv.fenced(
      x, kernel, (stride, stride), "SAME", dimension_numbers=NUMBERS
    )
  )(jnp.ones((1, 8, 8, 3)), jnp.ones((3, 3, 3, 4)))
  assert str(traced).count("optimization_barrier") == fences
