"""Residual blocks, and the convolutions that they are made of."""

from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax

from robustjax.models import conv as convs

Method = Literal["lax", "shifted", "fenced"]

CONV_INIT = nn.initializers.variance_scaling(2.0, "fan_out", "truncated_normal")

_METHODS = {"lax": None, "shifted": convs.shifted, "fenced": convs.fenced}


class Bottleneck(nn.Module):
  """1x1, 3x3 with the stride, 1x1 to four times the width; see `ResNet`.

  Attributes:
    conv: a maker of convolutions: `conv` with its first arguments.
    norm: a maker of norm layers.
    activation: of arrays, elementwise.
    width: a quarter of the channels that come out.
    stride: of the 3x3 convolution.
    bottleneck: the channels inside are `width` times this.
    cardinality: into how many groups of channels the 3x3 convolution is split.
    non_local: a maker of what follows the last activation, if anything does.
  """

  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]
  activation: Callable[[jax.Array], jax.Array]
  width: int
  stride: int
  bottleneck: int = 1
  cardinality: int = 1
  non_local: Callable[..., nn.Module] | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    inner = self.width * self.bottleneck
    y = self.conv(inner, 1, name="conv1")(x)
    y = self.activation(self.norm(name="bn1")(y))
    y = self.conv(inner, 3, self.stride, self.cardinality, name="conv2")(y)
    y = self.activation(self.norm(name="bn2")(y))
    y = self.conv(4 * self.width, 1, name="conv3")(y)
    y = self.norm(name="bn3", scale_init=nn.initializers.zeros)(y)
    return _end(self, x, y)


class Basic(nn.Module):
  """3x3 with the stride, 3x3; attributes as `Bottleneck`'s."""

  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]
  activation: Callable[[jax.Array], jax.Array]
  width: int
  stride: int
  non_local: Callable[..., nn.Module] | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    y = self.conv(self.width, 3, self.stride, name="conv1")(x)
    y = self.activation(self.norm(name="bn1")(y))
    y = self.conv(self.width, 3, name="conv2")(y)
    y = self.norm(name="bn2", scale_init=nn.initializers.zeros)(y)
    return _end(self, x, y)


def _end(block: Bottleneck | Basic, x: jax.Array, y: jax.Array) -> jax.Array:
  """What comes out of a block from what goes in and what its layers make of it."""
  if block.stride != 1 or x.shape[-1] != y.shape[-1]:
    x = block.conv(y.shape[-1], 1, block.stride, name="shortcut_conv")(x)
    x = block.norm(name="shortcut_bn")(x)
  y = block.activation(y + x)
  return block.non_local(name="non_local")(y) if block.non_local else y


def conv(
  padding: Literal["SAME", "symmetric"],
  method: Method,
  dtype: Any,
  precision: str | None,
  features: int,
  size: int,
  stride: int = 1,
  cardinality: int = 1,
  kernel_init: nn.initializers.Initializer = CONV_INIT,
  name: str | None = None,
) -> nn.Conv:
  """A convolution without bias; the first four arguments are `ResNet`'s attributes.

  Args:
    padding: of the image.
    method: how it is computed.
    dtype: of the computation.
    precision: of its products.
    features: channels that come out.
    size: height and width of the kernel.
    stride: vertical and horizontal.
    cardinality: into how many groups the channels are split.
    kernel_init: the initial kernel.
    name: of the module.
  """
  return nn.Conv(
    features,
    (size, size),
    (stride, stride),
    padding="SAME" if padding == "SAME" else [(size // 2, size // 2)] * 2,
    feature_group_count=cardinality,
    use_bias=False,
    dtype=dtype,
    precision=precision,
    kernel_init=kernel_init,
    conv_general_dilated=_METHODS[method],
    name=name,
  )
