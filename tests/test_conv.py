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
    (15, 3, 1, ((1, 1), (1, 1)), 1),
    (16, 3, 1, "SAME", 3),
    (16, 5, 1, "SAME", 1),
    (16, 2, 1, "SAME", 1),
    (56, 7, 2, "SAME", 1),
    (56, 7, 2, ((3, 3), (3, 3)), 1),
    (56, 3, 2, "SAME", 1),
    (56, 3, 2, ((1, 1), (1, 1)), 1),
    (57, 3, 2, "SAME", 1),
    (56, 3, 2, "VALID", 1),
    (56, 2, 2, "SAME", 1),
  ],
)
@pytest.mark.parametrize("form", [conv.shifted, conv.looped, conv.fenced])
def test_equals_lax(form, side, size, stride, padding, groups):
  check_equals_lax(form, side, size, stride, padding, groups, 3, 4)


@pytest.mark.parametrize(
  "side, size, stride, padding", [(8, 7, 1, "SAME"), (9, 3, 2, ((1, 1), (1, 1)))]
)
def test_each_channel_by_itself_equals_lax(side, size, stride, padding):
  check_equals_lax(conv.looped, side, size, stride, padding, 5, 1, 1)


def check_equals_lax(form, side, size, stride, padding, groups, channels, features):
  noise = np.random.default_rng(0)
  x = noise.normal(size=(2, side, side, channels * groups)).astype(np.float32)
  shape = (size, size, channels, features * groups)
  kernel = noise.normal(size=shape).astype(np.float32)
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


@pytest.mark.parametrize(
  ("side", "channels", "stride", "times"),
  [(4, 80, 1, 2), (3, 4, 1, 0), (4, 81, 1, 0), (54, 4, 2, 0), (56, 4, 2, 2)],
)
def test_a_shape_has_the_form_that_is_fast_for_it(side, channels, stride, times):
  """One of large images and few channels is left to the backend, and its gradient."""
  traced = jax.make_jaxpr(
    jax.grad(
      lambda x, kernel: conv.looped(x, kernel, (stride, stride), "SAME").sum(),
    )
  )(jnp.ones((1, side, side, channels)), jnp.ones((3, 3, channels, 4)))
  assert str(traced).count("conv_general_dilated[") == times
  assert "lhs_dilation=(1, 1)" in str(traced) or not times


def test_refuses_what_it_does_not_know():
  images, kernel = jnp.ones((1, 8, 8, 3)), jnp.ones((3, 3, 3, 3))
  with pytest.raises(NotImplementedError):
    conv.shifted(images, kernel, (1, 1), "SAME", rhs_dilation=(2, 2))
  by_itself = {"feature_group_count": 3, "rhs_dilation": (2, 2)}
  with pytest.raises(NotImplementedError):
    conv.looped(images, kernel[:, :, :1], (1, 1), "SAME", **by_itself)


@pytest.mark.parametrize(("stride", "fences"), [(1, 0), (2, 1)])
def test_a_strided_convolution_is_kept_apart(stride, fences):
  traced = jax.make_jaxpr(
    lambda x, kernel: conv.fenced(
      x, kernel, (stride, stride), "SAME", dimension_numbers=NUMBERS
    )
  )(jnp.ones((1, 8, 8, 3)), jnp.ones((3, 3, 3, 4)))
  assert str(traced).count("optimization_barrier") == fences
