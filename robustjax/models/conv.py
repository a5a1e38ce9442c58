"""Convolutions for backends that need other forms than `jax.lax.conv_general_dilated`.

Inside a loop, which is where an attack lives, XLA's CPU backend falls back on a slow
form of it: the same convolution as one matrix product over shifted copies of the image
runs four times faster there (benchmarks/README.md); with 32 groups of channels, as one
product for each, it is still 1.3 to 4 times.

The TPU compiler for v6e (libtpu 0.0.42) overflows its stack where it fuses what makes
the input of a strided convolution, a norm and a ReLU, into the gradient of its kernel.
"""

from collections.abc import Sequence
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
  dilations = (*unused.get("lhs_dilation", ()), *unused.get("rhs_dilation", ()))
  if any(d != 1 for d in dilations):
    raise NotImplementedError("shifted convolutions know no dilation")
  height, width, channels, features = kernel.shape
  down, right = window_strides
  if isinstance(padding, str):
    padding = jax.lax.padtype_to_pads(
      images.shape[1:3], (height, width), window_strides, padding
    )
  padded = jnp.pad(images, ((0, 0), *padding, (0, 0)))
  rows = (padded.shape[1] - height) // down + 1
  columns = (padded.shape[2] - width) // right + 1
  views = [
    padded[
      :, i : i + (rows - 1) * down + 1 : down, j : j + (columns - 1) * right + 1 : right
    ]
    for i in range(height)
    for j in range(width)
  ]
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
