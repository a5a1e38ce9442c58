"""Running and batch statistics of norm layers (paper Figures 5 and 6).

A layer is named by its path in the variables, such as "stage2_block4/bn3". GN keeps no
statistics: its networks have no layer here.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from robustjax.models import blocks
from robustjax.models import norm as norms

Tree = Mapping[str, Any]

_MOMENTS = {"mean", "var"}


def layers(batch_stats: Tree) -> dict[str, int]:
  """The norm layers that keep statistics, as the forward pass meets the blocks.

  Args:
    batch_stats: of a network, with any branches.

  Returns:
    Layer name -> its number of channels; empty under GN.
  """
  alone = jax.eval_shape(blocks.unstack, batch_stats)
  found = {name: _channels(layer) for name, layer in _walk(alone, "")}
  return {name: found[name] for name in sorted(found, key=_natural)}


def default_layer(names: Sequence[str]) -> str:
  """The layer to look at where nobody says which.

  The paper's Figures 5 and 6 take "a ResNet-152's res3 block", which is one of the
  second stage; they say neither which block nor which of its norms. Here it is the last
  norm of the middle block: stage2_block4/bn3 of ResNet-152.

  Args:
    names: from `layers`, of a network with at least one stage. A network with one
      stage has its middle block there.

  Returns:
    One of the names.
  """
  found = (re.fullmatch(r"stage(\d+)_block(\d+)/bn(\d+)", name) for name in names)
  places = [tuple(map(int, match.groups())) for match in found if match]
  stage = min(2, max(stage for stage, _, _ in places))
  blocks = max(block for at, block, _ in places if at == stage)
  middle = (blocks + 1) // 2
  last = max(norm for at, block, norm in places if (at, block) == (stage, middle))
  return f"stage{stage}_block{middle}/bn{last}"


def sample_channels(count: int, channels: int, seed: int) -> list[int]:
  """Some of a layer's channels, at random (20 in the paper's Figures 5 and 6).

  Args:
    count: how many, at least 1; a layer with fewer has all of them taken.
    channels: how many the layer has.
    seed: 0 and up.

  Returns:
    Ascending numbers of 0..channels - 1, each once.
  """
  rng = np.random.default_rng(seed)
  chosen = rng.choice(channels, min(count, channels), replace=False)
  return sorted(int(channel) for channel in chosen)


def batch(
  apply: Callable[..., Any], variables: Tree, images: jax.Array
) -> dict[str, Any]:
  """The batch statistics of every layer for one batch, from one forward pass.

  The pass normalises each layer with the batch's own statistics, as training does.
  Works under `jax.jit`.

  Args:
    apply: of a network with a single branch.
    variables: of that network (`norm.branch_of`). Their running statistics play no
      part, and stay as they are.
    images: [n, h, w, c], pixels in 0..255; one group.

  Returns:
    A tree like the network's `batch_stats`, which holds the means and variances over
    the images and all positions instead, to rounding.
  """
  # The pass moves running statistics by (1 - MOMENTUM) towards the batch's: those that
  # start at zero end at this part of the batch's statistics.
  zeros = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
  _, moved = apply(
    {**variables, "batch_stats": zeros},
    images,
    statistics="batch",
    groups=1,
    mutable=["batch_stats"],
  )
  return jax.tree.map(lambda x: x / (1 - norms.MOMENTUM), moved["batch_stats"])


def at(
  batch_stats: Tree, layer: str, channels: Sequence[int]
) -> dict[str, dict[str, list[float]]]:
  """The statistics of one layer at some of its channels.

  Args:
    batch_stats: of a network, with any branches; or from `batch`.
    layer: one of `layers`.
    channels: numbers of its channels.

  Returns:
    Branch -> {"mean": [...], "var": [...]}, in the order of the channels. MBN has the
    branches "clean" and "adv", plain BN has "all".
  """
  alone = blocks.unstack(jax.device_get(batch_stats))
  branches = dict(_walk(alone, ""))[layer]
  return {
    branch: {k: np.asarray(values[k])[list(channels)].tolist() for k in ("mean", "var")}
    for branch, values in branches.items()
  }


def _walk(tree: Tree, path: str) -> list[tuple[str, Tree]]:
  """Every layer's path and its branches, {branch: {"mean", "var"}}."""
  found = []
  for name, child in tree.items():
    if all(isinstance(x, Mapping) and set(x) == _MOMENTS for x in child.values()):
      found.append((path + name, child))
    else:
      found += _walk(child, f"{path}{name}/")
  return found


def _channels(layer: Tree) -> int:
  return next(iter(layer.values()))["mean"].shape[0]


def _natural(name: str) -> list[tuple[int, str]]:
  """Sorts stage2_block10 after stage2_block9."""
  parts = re.split(r"(\d+)", name)
  return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
