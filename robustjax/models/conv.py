"""Convolutions for backends that need other forms than `jax.lax.conv_general_dilated`.

Inside a loop, which is where an attack lives, XLA's CPU backend is slow at the gradient
of a convolution by its input, at small images, at 1x1 kernels and at many groups. Other
forms of the same are several times faster there (benchmarks/README.md).

The TPU compiler for v6e (libtpu 0.0.42) overflows its stack where it fuses what makes
the input of a strided convolution, a norm and a ReLU, into the gradient of its kernel.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp


def fenced(
  images: jax.Array,
  kernel: jax.Array,
  window_strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
  **others: Any,
) -> jax.Array:
  """`jax.lax.conv_general_dilated`; with a stride, nothing is fused into its input.

  Args:
    images: [n, h, w, c].
    kernel: [kh, kw, c, d].
    window_strides: vertical and horizontal stride.
    padding: "SAME", "VALID", or (low, high) for each side.
    **others: its other arguments.

  Returns:
    [n, h', w', d].
  """
  if any(stride > 1 for stride in window_strides):
    images = jax.lax.optimization_barrier(images)
  return jax.lax.conv_general_dilated(images, kernel, window_strides, padding, **others)


# From which side on, and to how many channels, `flipped` is the faster one.
_LEAST_SIDE, _MOST_CHANNELS = 14, 128


def looped(
  images: jax.Array,
  kernel: jax.Array,
  window_strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
  **unused: Any,
) -> jax.Array:
  """`flipped` where it can be and is faster, else `shifted`, whose arguments it has.

  One that takes each channel by itself is `depthwise`.
  """
  if unused.get("feature_group_count", 1) == images.shape[-1] == kernel.shape[-1] > 1:
    _check_undilated(unused)
    return depthwise(images, kernel, window_strides, padding)
  side, channels = min(images.shape[1:3]), max(kernel.shape[2:])
  pads = _pads(images, kernel, window_strides, padding)
  keeps_the_size = pads == [(size // 2, size // 2) for size in kernel.shape[:2]]
  if (
    keeps_the_size
    and kernel.shape[0] > 1
    and tuple(window_strides) == (1, 1)
    and side >= _LEAST_SIDE
    and channels <= _MOST_CHANNELS
    and unused.get("feature_group_count", 1) == 1
  ):
    return flipped(images, kernel)
  return shifted(images, kernel, window_strides, padding, **unused)


@jax.custom_vjp
def flipped(images: jax.Array, kernel: jax.Array) -> jax.Array:
  """A convolution whose gradient by its input is one too, with the kernel turned round.

  XLA makes that of the same products, in a form that is slow on CPUs.

  Args:
    images: [n, h, w, c].
    kernel: [kh, kw, c, d], kh and kw odd.

  Returns:
    [n, h, w, d]: strides of 1, and zeros around the image.
  """
  numbers = ("NHWC", "HWIO", "NHWC")
  return jax.lax.conv_general_dilated(
    images, kernel, (1, 1), "SAME", dimension_numbers=numbers
  )


def _forward(images: jax.Array, kernel: jax.Array) -> tuple[jax.Array, Any]:
  return flipped(images, kernel), (images, kernel)


def _backward(saved: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
  images, kernel = saved
  by_kernel = functools.partial(shifted, images, window_strides=(1, 1), padding="SAME")
  return (
    flipped(gradient, kernel[::-1, ::-1].swapaxes(2, 3)),
    jax.vjp(by_kernel, kernel)[1](gradient)[0],
  )


flipped.defvjp(_forward, _backward)


def _pads(
  images: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Any
) -> list[tuple[int, int]]:
  if isinstance(padding, str):
    padding = jax.lax.padtype_to_pads(
      images.shape[1:3], kernel.shape[:2], strides, padding
    )
  return [(int(low), int(high)) for low, high in padding]


def shifted(
  images: jax.Array,
  kernel: jax.Array,
  window_strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
  *,
  feature_group_count: int = 1,
  precision: Any = None,
  **unused: Any,
) -> jax.Array:
  """A 2-D convolution as one product over the kernel's shifted views.

  A stand-in for `jax.lax.conv_general_dilated`, for `flax.linen.Conv` to call.

  Args:
    images: [n, h, w, g * c].
    kernel: [kh, kw, c, d].
    window_strides: vertical and horizontal stride.
    padding: "SAME", "VALID", or (low, high) for each side.
    feature_group_count: g, the groups of channels; it divides d.
    precision: of the products.
    **unused: `lax.conv_general_dilated`'s other arguments; dilation, which no ResNet
      here has, is refused.

  Returns:
    [n, h', w', d], equal to `lax.conv_general_dilated` to rounding.

  Raises:
    NotImplementedError: for dilation.
  """
  _check_undilated(unused)
  height, width, channels, features = kernel.shape
  views = _views(images, kernel, window_strides, padding)
  rows, columns = views[0].shape[1:3]
  inputs, groups = height * width * channels, feature_group_count
  if groups == 1:
    matrix, images = kernel.reshape(inputs, features), jnp.concatenate(views, -1)
    return jnp.tensordot(images, matrix, 1, precision=precision)
  shape = (-1, groups, channels)
  split = jnp.concatenate([view.reshape(shape) for view in views], -1)
  matrices = kernel.reshape(inputs, groups, features // groups)
  # XLA's products with groups in the middle take twice as long.
  made = jnp.matmul(split.swapaxes(0, 1), matrices.swapaxes(0, 1), precision=precision)
  return made.swapaxes(0, 1).reshape(images.shape[0], rows, columns, features)


def depthwise(
  images: jax.Array,
  kernel: jax.Array,
  window_strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
) -> jax.Array:
  """A convolution of each channel by itself, as a sum over the kernel's shifted views.

  Args:
    images: [n, h, w, c].
    kernel: [kh, kw, 1, c].
    window_strides: vertical and horizontal stride.
    padding: "SAME", "VALID", or (low, high) for each side.

  Returns:
    [n, h', w', c], equal to `lax.conv_general_dilated` to rounding.
  """
  views = _views(images, kernel, window_strides, padding)
  weights = kernel.reshape(-1, kernel.shape[-1])
  total = views[0] * weights[0]
  for view, weight in zip(views[1:], weights[1:], strict=True):
    total += view * weight
  return total


def _check_undilated(others: Mapping[str, Any]) -> None:
  dilations = (*others.get("lhs_dilation", ()), *others.get("rhs_dilation", ()))
  if any(d != 1 for d in dilations):
    raise NotImplementedError("shifted convolutions know no dilation")


def _views(
  images: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Any
) -> list[jax.Array]:
  """The images as each element of the kernel meets them: [n, h', w', c] each."""
  (height, width), (down, right) = kernel.shape[:2], strides
  pads = _pads(images, kernel, strides, padding)
  padded = jnp.pad(images, ((0, 0), *pads, (0, 0)))
  rows = (padded.shape[1] - height) // down + 1
  columns = (padded.shape[2] - width) // right + 1
  return [
    padded[
      :, i : i + (rows - 1) * down + 1 : down, j : j + (columns - 1) * right + 1 : right
    ]
    for i in range(height)
    for j in range(width)
  ]
