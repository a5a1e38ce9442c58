"""The blocks of a stage, one by one or scanned: how they run and how they are stored.

The first block of a stage has the stride and is unlike the others, which are all
alike. Unrolled, a network holds and compiles each of them by itself. Scanned, it holds
them as one, every array with a leading axis over the blocks, and compiles one that
runs in a loop: neither the program nor the number of arrays grows with the depth.
"""

import functools
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

# What of a block is kept from the forward pass for the backward pass; the rest is
# computed again. "none": nothing is. "convolutions": their outputs are kept and only
# norms and activations computed again. "block": the block's input alone is kept.
Remat = Literal["none", "convolutions", "block"]
REMATS: tuple[Remat, ...] = ("none", "convolutions", "block")

_ALONE = re.compile(r"(stage\d+_block)(\d+)")
_STACKED = re.compile(r"(stage\d+_block)s")


def rematerialised(block: Any, remat: Remat, *, in_loop: bool = False) -> Any:
  """A class of blocks whose activations are computed again in the backward pass.

  Args:
    block: a module class, from [n, h, w, c] to [n, h', w', d].
    remat: what is kept.
    in_loop: whether a loop runs it, which keeps XLA from undoing this by itself.

  Returns:
    The class, or one with the same variables and results.
  """
  if remat == "none":
    return block
  policy = None if remat == "block" else _is_convolution
  return nn.remat(block, policy=policy, prevent_cse=not in_loop)


def _is_convolution(primitive: Any, *_: Any, **__: Any) -> bool:
  # Shifted convolutions are matrix products.
  products = (jax.lax.conv_general_dilated_p, jax.lax.dot_general_p)
  return any(primitive is product for product in products)


def scanned(block: nn.Module, length: int) -> Callable[[jax.Array], jax.Array]:
  """Runs a block `length` times, each time with variables of its own.

  Args:
    block: whose result has the shape of its input; its variables get a leading axis
      of `length`.
    length: at least 1.
  """

  def body(block: Any, x: jax.Array, _: None) -> tuple[jax.Array, None]:
    return block(x), None

  loop = nn.scan(
    body,
    variable_axes={"params": 0, "batch_stats": 0},
    split_rngs={"params": True},
    length=length,
  )
  return lambda x: loop(block, x, None)[0]


def drawn_apart(
  params: Any, key: jax.Array, kernel_init: nn.initializers.Initializer
) -> Any:
  """Scanned parameters whose kernels are those that the unrolled network begins with.

  `nn.scan` would draw others from the same key. Flax folds a variable's path into the
  key: here that of each block, in one vectorised draw for all blocks of a stage.

  Args:
    params: of a scanned network before training.
    key: that its `init` had.
    kernel_init: of the blocks' convolutions, whose kernels are all in a block that is
      random.

  Returns:
    `params`, the kernels of stacked blocks replaced.
  """
  drawn = dict(params)
  for name, block in params.items():
    if not (stacked := _STACKED.fullmatch(name)):
      continue
    arrays = flax.traverse_util.flatten_dict(block)
    for path, old in arrays.items():
      if path[-1] != "kernel":
        continue
      alone = [f"{stacked[1]}{index + 2}" for index in range(len(old))]
      folds = np.asarray([_fold(block, *path[:-1]) for block in alone], np.uint32)
      keys = jax.vmap(jax.random.fold_in, (None, 0))(key, folds)
      draw = functools.partial(kernel_init, shape=old.shape[1:], dtype=old.dtype)
      arrays[path] = jax.vmap(draw)(keys)
    drawn[name] = flax.traverse_util.unflatten_dict(arrays)
  return drawn


def _fold(*path: str) -> int:
  """What flax folds into the key for the first variable of the module at a path."""
  first = b"\x01"
  digest = hashlib.sha1("".join(path).encode() + first).digest()
  return int.from_bytes(digest[:4], "big")


def stack(tree: Any) -> Any:
  """From the unrolled network's arrays to the scanned one's.

  Args:
    tree: nested dicts of parameters, running statistics, an optimiser's state (from
      `flax.serialization.to_state_dict`), or all of them; of either form.

  Returns:
    The same, with blocks 2, 3, ... of a stage, "stage3_block2", "stage3_block3", ...,
    as one, "stage3_blocks": arrays of theirs along a new first axis.
  """
  if not isinstance(tree, Mapping):
    return tree
  rest: dict[str, Any] = {}
  stages: dict[str, dict[int, Any]] = {}
  for name, child in tree.items():
    found = _ALONE.fullmatch(name)
    if found and int(found[2]) > 1:
      stages.setdefault(f"{found[1]}s", {})[int(found[2])] = child
    else:
      rest[name] = stack(child)
  for name, children in stages.items():
    ordered = [children[index] for index in sorted(children)]
    rest[name] = jax.tree.map(lambda *arrays: _stack(arrays), *ordered)
  return rest


def unstack(tree: Any) -> Any:
  """From the scanned network's arrays to the unrolled one's: `stack` undone."""
  if not isinstance(tree, Mapping):
    return tree
  found = {}
  for name, child in tree.items():
    if stacked := _STACKED.fullmatch(name):
      for index in range(len(jax.tree.leaves(child)[0])):
        one = functools.partial(jax.tree.map, lambda x, i=index: x[i])
        found[f"{stacked[1]}{index + 2}"] = one(child)
    else:
      found[name] = unstack(child)
  return found


def _stack(arrays: tuple[Any, ...]) -> Any:
  on_host = all(isinstance(x, np.ndarray) for x in arrays)
  return np.stack(arrays) if on_host else jnp.stack(arrays)
