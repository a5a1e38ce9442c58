"""ResNets of any depth, for ImageNet and for small images.

The network of the paper's training pipeline (FD): stride on the 3x3 convolution of
a bottleneck, SAME padding, each block's last scale starting at zero. Images come in
as pixels, RGB, 0..255, and are scaled to -1..1 inside, so that attacks and logs
speak of pixels alone.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from robustjax.models import blocks
from robustjax.models import conv as convs
from robustjax.models import norm as norms

# Blocks a stage. 18 to 152: He et al. 2016. 200: He et al., "Identity mappings".
# 338, 518, 638: no source gives them. The paper says "adding more residual blocks";
# only the third stage grows here, as from 152 to 200. A guess: pass any other list.
BOTTLENECK_STAGES = {
  50: (3, 4, 6, 3),
  101: (3, 4, 23, 3),
  152: (3, 8, 36, 3),
  200: (3, 24, 36, 3),
  338: (3, 24, 82, 3),
  518: (3, 24, 142, 3),
  638: (3, 24, 182, 3),
}
BASIC_STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
DEPTHS = (*BASIC_STAGES, *BOTTLENECK_STAGES)

Block = Literal["basic", "bottleneck"]
Stem = Literal["imagenet", "small", "small_stride2"]
Method = Literal["lax", "looped", "fenced"]


class ResNet(nn.Module):
  """A residual network; use `make`.

  Attributes:
    stages: blocks a stage.
    block: "bottleneck" (1x1, 3x3, 1x1) or "basic" (3x3, 3x3).
    num_classes: the number of logits.
    norm: a maker of norm layers, from `robustjax.models.norm`.
    width: channels of the first stage; they double with each stage.
    stem: "imagenet" (7x7 stride 2, then pooling), "small" (3x3 stride 1) or
      "small_stride2" (3x3 stride 2).
    padding: "SAME" as FD, or "symmetric" as PyTorch, whose weights need it.
    dtype: of the computation; parameters, statistics and logits are float32.
    method: how convolutions are computed: "lax", or "looped" in a loop on CPUs.
    scan: whether the blocks of a stage behind its first are one in a loop, see
      `blocks`, which also has their variables' two forms.
    remat: what of a block is kept for the backward pass, see `blocks`.
  """

  stages: Sequence[int]
  block: Block
  num_classes: int
  norm: Callable[..., nn.Module]
  width: int = 64
  stem: Stem = "imagenet"
  padding: Literal["SAME", "symmetric"] = "SAME"
  dtype: Any = jnp.float32
  method: Method = "lax"
  scan: bool = False
  remat: blocks.Remat = "none"

  @nn.compact
  def __call__(
    self,
    images: jax.Array,
    domain: norms.Domain = "adv",
    statistics: norms.Statistics = "running",
    groups: int = 1,
  ) -> jax.Array:
    """Logits of a batch.

    Args:
      images: [n, h, w, c], pixels in 0..255.
      domain: the branch of every norm layer that the batch goes through.
      statistics: "running", or "batch" to normalise with the batch's own and to
        update the running ones (apply with `mutable=["batch_stats"]`).
      groups: how many groups of images have statistics of their own.

    Returns:
      [n, num_classes], float32.
    """
    conv = functools.partial(_conv, self.padding, self.method, self.dtype)
    norm = functools.partial(
      self.norm,
      domain=domain,
      statistics=statistics,
      groups=groups,
      dtype=self.dtype,
    )
    x = (images.astype(jnp.float32) / 127.5 - 1.0).astype(self.dtype)
    x = self._stem(x, conv, norm)
    for stage, count in enumerate(self.stages):
      make = functools.partial(
        self._block, conv=conv, norm=norm, width=self.width * 2**stage
      )
      name = f"stage{stage + 1}_block"
      x = make(stride=2 if stage else 1, name=f"{name}1")(x)
      if self.scan and count > 1:
        repeated = make(in_loop=True, stride=1, name=f"{name}s")
        x = blocks.scanned(repeated, count - 1)(x)
      else:
        for index in range(1, count):
          x = make(stride=1, name=f"{name}{index + 1}")(x)
    x = jnp.mean(x.astype(jnp.float32), (1, 2))
    head = nn.Dense(self.num_classes, kernel_init=_HEAD_INIT, name="fc")
    return head(x)

  def _block(self, *, in_loop: bool = False, **attributes: Any) -> nn.Module:
    block = blocks.rematerialised(_BLOCKS[self.block], self.remat, in_loop=in_loop)
    return block(**attributes)

  def _stem(self, x: jax.Array, conv: Any, norm: Any) -> jax.Array:
    size, stride = {"imagenet": (7, 2), "small": (3, 1), "small_stride2": (3, 2)}[
      self.stem
    ]
    x = conv(self.width, size, stride, name="conv0")(x)
    x = nn.relu(norm(name="bn0")(x))
    if self.stem == "imagenet":
      pads = "SAME" if self.padding == "SAME" else ((1, 1), (1, 1))
      x = nn.max_pool(x, (3, 3), (2, 2), padding=pads)
    return x


class Bottleneck(nn.Module):
  """1x1, 3x3 with the stride, 1x1 to four times the width; see `ResNet`."""

  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]
  width: int
  stride: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    y = nn.relu(self.norm(name="bn1")(self.conv(self.width, 1, name="conv1")(x)))
    y = self.conv(self.width, 3, self.stride, name="conv2")(y)
    y = nn.relu(self.norm(name="bn2")(y))
    y = self.conv(4 * self.width, 1, name="conv3")(y)
    y = self.norm(name="bn3", scale_init=nn.initializers.zeros)(y)
    return nn.relu(y + _shortcut(self, x, 4 * self.width))


class Basic(nn.Module):
  """3x3 with the stride, 3x3; see `ResNet`."""

  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]
  width: int
  stride: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    y = self.conv(self.width, 3, self.stride, name="conv1")(x)
    y = nn.relu(self.norm(name="bn1")(y))
    y = self.conv(self.width, 3, name="conv2")(y)
    y = self.norm(name="bn2", scale_init=nn.initializers.zeros)(y)
    return nn.relu(y + _shortcut(self, x, self.width))


_BLOCKS: dict[str, Any] = {"bottleneck": Bottleneck, "basic": Basic}
_CONV_INIT = nn.initializers.variance_scaling(2.0, "fan_out", "truncated_normal")
_HEAD_INIT = nn.initializers.normal(0.01)


def _shortcut(block: Bottleneck | Basic, x: jax.Array, features: int) -> jax.Array:
  if block.stride == 1 and x.shape[-1] == features:
    return x
  x = block.conv(features, 1, block.stride, name="shortcut_conv")(x)
  return block.norm(name="shortcut_bn")(x)


_METHODS = {"lax": None, "looped": convs.looped, "fenced": convs.fenced}


def _conv(
  padding: str,
  method: Method,
  dtype: Any,
  features: int,
  size: int,
  stride: int = 1,
  name: str | None = None,
) -> nn.Conv:
  return nn.Conv(
    features,
    (size, size),
    (stride, stride),
    padding="SAME" if padding == "SAME" else [(size // 2, size // 2)] * 2,
    use_bias=False,
    dtype=dtype,
    kernel_init=_CONV_INIT,
    conv_general_dilated=_METHODS[method],
    name=name,
  )


def make(
  depth: int | Sequence[int],
  *,
  norm: Callable[..., nn.Module],
  num_classes: int = 1000,
  block: Block | None = None,
  **attributes: Any,
) -> ResNet:
  """A ResNet by its depth or by its list of blocks.

  Args:
    depth: one of `DEPTHS`, or blocks a stage, such as (3, 8, 36, 3).
    norm: from `norm.batch` or `norm.group`.
    num_classes: the number of logits.
    block: "basic" or "bottleneck"; by default what the depth has, and
      "bottleneck" for a list.
    **attributes: `ResNet`'s other attributes.

  Returns:
    The module, its variables not yet made.

  Raises:
    ValueError: a depth that is not in `DEPTHS`.

  Example:
    >>> net = make(152, norm=norms.batch(("clean", "adv")), dtype=jnp.bfloat16)
    >>> tuple(net.stages)
    (3, 8, 36, 3)
  """
  if isinstance(depth, int):
    if depth not in DEPTHS:
      raise ValueError(f"no ResNet-{depth}: depths are {DEPTHS}, or a list of blocks")
    block = block or ("basic" if depth in BASIC_STAGES else "bottleneck")
    stages: Sequence[int] = {**BASIC_STAGES, **BOTTLENECK_STAGES}[depth]
  else:
    block, stages = block or "bottleneck", tuple(depth)
  return ResNet(stages, block, num_classes, norm, **attributes)


def initial(net: ResNet, key: jax.Array, images: jax.Array) -> Any:
  """The variables that a network begins with.

  Args:
    net: from `make`.
    key: a PRNG key.
    images: [n, h, w, c], of which only the shape matters.

  Returns:
    As `net.init` does, and the same from the same key whether the network is scanned
    or not (`blocks.stack`).
  """
  variables = net.init(key, images)
  params = blocks.drawn_apart(variables["params"], key, _CONV_INIT)
  return {**variables, "params": params}
