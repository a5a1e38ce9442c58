"""ResNets of any depth, for ImageNet and for small images.

The network of the paper's training pipeline (FD): stride on the 3x3 convolution of
a bottleneck, SAME padding, each block's last scale starting at zero. Images come in
as pixels, RGB, 0..255, and are scaled inside, to -1..1 in the paper, so that attacks
and logs speak of pixels alone. What published networks have otherwise are attributes.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from robustjax.models import blocks, non_local, relu, residual
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
Activation = Literal["relu", "gelu"]
NonLocal = Literal["none", "stages", "blocks"]


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
    input_mean: what is taken from the pixels, of 0..255: one value, or one a channel.
    input_std: above 0, by which the rest is divided: likewise.
    bottleneck: the inner width of a bottleneck block by that of the stage: 2 in a wide
      ResNet-50-2, 4 in a ResNeXt-101 of 32 times 8.
    cardinality: groups of a bottleneck block's 3x3 convolution: 32 in that ResNeXt.
    activation: "relu", or "gelu" in its exact form.
    non_local: "stages" for a non-local block after each stage, with softmax and
      embeddings; "blocks" for one in each residual block, without. See `non_local`.
    dtype: of the computation; parameters, statistics and logits are float32.
    precision: of products of float32: what the device prefers, which may be less than
      float32, or "highest".
    method: how convolutions are computed: "lax", "looped" in a loop on CPUs, or
      "fenced", see `conv`.
    scan: whether the blocks of a stage behind its first are one in a loop, see
      `blocks`, which also has their variables' two forms.
    remat: what of a block is kept for the backward pass, see `blocks`.
    keep_signs: whether of ReLU's outputs signs alone are kept for it, see `relu`.
  """

  stages: Sequence[int]
  block: Block
  num_classes: int
  norm: Callable[..., nn.Module]
  width: int = 64
  stem: Stem = "imagenet"
  padding: Literal["SAME", "symmetric"] = "SAME"
  input_mean: Sequence[float] = (127.5,)
  input_std: Sequence[float] = (127.5,)
  bottleneck: int = 1
  cardinality: int = 1
  activation: Activation = "relu"
  non_local: NonLocal = "none"
  dtype: Any = jnp.float32
  precision: Literal["highest"] | None = None
  method: residual.Method = "lax"
  scan: bool = False
  remat: blocks.Remat = "none"
  keep_signs: bool = False

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
    conv = functools.partial(
      residual.conv, self.padding, self.method, self.dtype, self.precision
    )
    norm = functools.partial(
      self.norm,
      domain=domain,
      statistics=statistics,
      groups=groups,
      dtype=self.dtype,
    )
    x = self._stem(self._scaled(images), conv, norm)
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
      if self.non_local == "stages":
        x = self._non_local(conv, norm, name=f"stage{stage + 1}_non_local")(x)
    x = jnp.mean(x.astype(jnp.float32), (1, 2))
    head = nn.Dense(
      self.num_classes, precision=self.precision, kernel_init=_HEAD_INIT, name="fc"
    )
    return head(x)

  def _scaled(self, images: jax.Array) -> jax.Array:
    mean, std = (np.asarray(x, np.float32) for x in (self.input_mean, self.input_std))
    return (images.astype(jnp.float32) / std - mean / std).astype(self.dtype)

  def _block(
    self, *, conv: Any, norm: Any, in_loop: bool = False, **attributes: Any
  ) -> nn.Module:
    if self.block == "bottleneck":
      attributes |= {"bottleneck": self.bottleneck, "cardinality": self.cardinality}
    if self.non_local == "blocks":
      attributes["non_local"] = functools.partial(
        non_local.NonLocal, conv, norm, embedded=False, precision=self.precision
      )
    block = blocks.rematerialised(_BLOCKS[self.block], self.remat, in_loop=in_loop)
    return block(conv, norm, self._activation(), **attributes)

  def _non_local(self, conv: Any, norm: Any, name: str) -> nn.Module:
    # Its weights, positions by positions, are most of what it would keep.
    remat: blocks.Remat = "none" if self.remat == "none" else "block"
    made = blocks.rematerialised(non_local.NonLocal, remat)
    return made(conv, norm, embedded=True, precision=self.precision, name=name)

  def _stem(self, x: jax.Array, conv: Any, norm: Any) -> jax.Array:
    size, stride = {"imagenet": (7, 2), "small": (3, 1), "small_stride2": (3, 2)}[
      self.stem
    ]

    def normed(net: ResNet, x: jax.Array) -> Any:
      return norm(name="bn0")(conv(net.width, size, stride, name="conv0")(x))

    activation = self._activation()
    if self.stem != "imagenet":
      return activation(normed(self, x))
    pads = "SAME" if self.padding == "SAME" else ((1, 1), (1, 1))
    pool = functools.partial(
      nn.max_pool, window_shape=(3, 3), strides=(2, 2), padding=pads
    )
    if activation is not relu.keeping_signs:
      return pool(activation(normed(self, x)))
    # Of ReLU's outputs the largest is ReLU of the largest, and has the same gradient.
    # The gradient of pooling looks at all that was pooled, the network's largest array:
    # three channels are less to read than it is to keep.
    return activation(nn.remat(lambda net, x: pool(normed(net, x)))(self, x))

  def _activation(self) -> Callable[[jax.Array], jax.Array]:
    if self.keep_signs and self.activation == "relu":
      return relu.keeping_signs
    return _ACTIVATIONS[self.activation]


_BLOCKS: dict[str, Any] = {"bottleneck": residual.Bottleneck, "basic": residual.Basic}
_ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  "relu": nn.relu,
  "gelu": functools.partial(nn.gelu, approximate=False),
}
_HEAD_INIT = nn.initializers.normal(0.01)


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
    ValueError: a depth that is not in `DEPTHS`, or a bottleneck or cardinality of
      basic blocks, which have none.

  Examples:
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
  net = ResNet(stages, block, num_classes, norm, **attributes)
  if block == "basic" and (net.bottleneck, net.cardinality) != (1, 1):
    raise ValueError("bottleneck and cardinality are 1 where blocks are basic")
  return net


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
  params = blocks.drawn_apart(variables["params"], key, residual.CONV_INIT)
  return {**variables, "params": params}
