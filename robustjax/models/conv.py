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

Pads = tuple[tuple[int, int], tuple[int, int]]  # (low, high) of rows and of columns


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


# Measured (benchmarks/README.md): from which side on, and up to how many channels for
# a pixel of the side, `flipped` is the fastest; and from which side on `folded` is.
_LEAST_SIDE, _CHANNELS_BY_SIDE, _LEAST_FOLDED = 4, 20, 56


def looped(
  images: jax.Array,
  kernel: jax.Array,
  window_strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
  **others: Any,
) -> jax.Array:
  """The form that is the fastest one for such shapes; arguments as of `shifted`."""
  _check_undilated(others)
  groups = others.get("feature_group_count", 1)
  if groups == images.shape[-1] == kernel.shape[-1] > 1:
    return depthwise(images, kernel, window_strides, padding)
  side, channels = min(images.shape[1:3]), max(kernel.shape[2:])
  precision = others.get("precision")
  pads = _pads(images, kernel, window_strides, padding)
  if groups == 1 and min(kernel.shape[:2]) > 1:
    same = all(
      low + high + 1 == size
      for (low, high), size in zip(pads, kernel.shape[:2], strict=True)
    )
    few = side >= _LEAST_SIDE and channels <= _CHANNELS_BY_SIDE * side
    if tuple(window_strides) == (1, 1) and same and few:
      return flipped(images, kernel, pads, precision)
    large = side >= _LEAST_FOLDED
    if tuple(window_strides) == (2, 2) and large and _halves(images, kernel, pads):
      return folded(images, kernel, pads, precision)
  return shifted(images, kernel, window_strides, padding, **others)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def flipped(
  images: jax.Array, kernel: jax.Array, pads: Pads, precision: Any = None
) -> jax.Array:
  """A convolution whose gradient by its input is one too, with the kernel turned round.

  XLA makes that of the same products, in a form that is slow on CPUs.

  Args:
    images: [n, h, w, c].
    kernel: [kh, kw, c, d].
    pads: (low, high) for each side, less than the kernel's size.
    precision: of the products.

  Returns:
    [n, h', w', d]: strides of 1.
  """
  numbers = ("NHWC", "HWIO", "NHWC")
  return jax.lax.conv_general_dilated(
    images, kernel, (1, 1), pads, dimension_numbers=numbers, precision=precision
  )


def _forward(
  images: jax.Array, kernel: jax.Array, pads: Pads, precision: Any
) -> tuple[jax.Array, Any]:
  return flipped(images, kernel, pads, precision), (images, kernel)


def _backward(
  pads: Pads, precision: Any, saved: Any, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
  images, kernel = saved
  by_kernel = functools.partial(
    shifted, images, window_strides=(1, 1), padding=pads, precision=precision
  )
  turned = tuple(
    (size - 1 - low, size - 1 - high)
    for (low, high), size in zip(pads, kernel.shape[:2], strict=True)
  )
  return (
    flipped(gradient, kernel[::-1, ::-1].swapaxes(2, 3), turned, precision),
    jax.vjp(by_kernel, kernel)[1](gradient)[0],
  )


flipped.defvjp(_forward, _backward)


def folded(
  images: jax.Array, kernel: jax.Array, pads: Pads, precision: Any = None
) -> jax.Array:
  """A convolution with strides of 2, as one without on images folded to half the size.

  Four pixels become one of four times the channels, and the kernel likewise, with zeros
  where its size or its place is odd. A 7x7 stem does not make 49 copies of its image.

  Args:
    images: [n, h, w, c], h and w even.
    kernel: [kh, kw, c, d].
    pads: (low, high) for each side, with which the size is halved.
    precision: of the products.

  Returns:
    [n, h / 2, w / 2, d].
  """
  n, height, width, channels = images.shape
  before = [low % 2 for low, _ in pads]
  after = [(size + odd) % 2 for size, odd in zip(kernel.shape[:2], before, strict=True)]
  kernel = jnp.pad(kernel, (*zip(before, after, strict=True), (0, 0), (0, 0)))
  rows, columns, features = kernel.shape[0] // 2, kernel.shape[1] // 2, kernel.shape[3]
  kernel = kernel.reshape(rows, 2, columns, 2, channels, features)
  kernel = kernel.transpose(0, 2, 1, 3, 4, 5)
  images = images.reshape(n, height // 2, 2, width // 2, 2, channels)
  images = images.transpose(0, 1, 3, 2, 4, 5)
  low = [(low + odd) // 2 for (low, _), odd in zip(pads, before, strict=True)]
  return flipped(
    images.reshape(n, height // 2, width // 2, 4 * channels),
    kernel.reshape(rows, columns, 4 * channels, features),
    ((low[0], rows - 1 - low[0]), (low[1], columns - 1 - low[1])),
    precision,
  )


def _halves(images: jax.Array, kernel: jax.Array, pads: Pads) -> bool:
  """Whether strides of 2 halve the size, which is even."""
  return all(
    side % 2 == 0 and (side + low + high - size) // 2 + 1 == side // 2
    for side, size, (low, high) in zip(
      images.shape[1:3], kernel.shape[:2], pads, strict=True
    )
  )


def _pads(
  images: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Any
) -> Pads:
  if isinstance(padding, str):
    padding = jax.lax.padtype_to_pads(
      images.shape[1:3], kernel.shape[:2], strides, padding
    )
  (top, bottom), (left, right) = padding
  return (int(top), int(bottom)), (int(left), int(right))


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
  total = jnp.zeros(views[0].shape, jnp.float32)  # whatever the images are in
  for view, weight in zip(views, weights, strict=True):
    total += view.astype(jnp.float32) * weight.astype(jnp.float32)
  return total.astype(images.dtype)


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
