"""Tiny networks of made numbers, as files of others hold them."""

import hashlib
import pathlib

import flax
import numpy as np

from robustjax.weights import architecture, layouts
from robustjax.weights.architecture import Architecture
from robustjax.weights.files import File

BOTTLENECK = Architecture((2, 1), "bottleneck", 4, 1, 1, "none", 7, 3, 5)
BASIC = BOTTLENECK._replace(block="basic")
WIDE = BOTTLENECK._replace(bottleneck=2)
GROUPED = BOTTLENECK._replace(bottleneck=2, cardinality=4)
STAGES = BOTTLENECK._replace(non_local="stages")
BLOCKS = GROUPED._replace(non_local="blocks")


def variables(net=BOTTLENECK, seed=0):
  """Random variables of a network, in our tree; no two arrays are alike."""
  random = np.random.default_rng(seed)
  flat = {
    path: random.uniform(0.5 if "var" in path else -1, 1.5, shape).astype(np.float32)
    for path, shape in architecture.arrays(net)
  }
  return flax.traverse_util.unflatten_dict(flat)


def state_dict(net=BOTTLENECK, seed=0):
  """As PyTorch saves it, with counts of batches."""
  found = layouts.to_torch(variables(net, seed))
  for name in [name for name in found if name.endswith("running_var")]:
    stem = name.removesuffix("running_var")
    found[f"{stem}num_batches_tracked"] = np.array(7, np.int64)
  return found


def under(prefix, arrays):
  return {f"{prefix}{name}": array for name, array in arrays.items()}


def file(arrays, **extras):
  digest = hashlib.sha256(repr(sorted(arrays)).encode()).hexdigest()
  return File(pathlib.Path("made.pt"), "torch", arrays, extras, digest)


def assert_same(found, expected):
  """Two trees have the same arrays, to the last bit."""
  a, b = (flax.traverse_util.flatten_dict(dict(tree)) for tree in (found, expected))
  assert a.keys() == b.keys()
  for path, array in a.items():
    assert array.dtype == b[path].dtype, path
    np.testing.assert_array_equal(array, b[path], str(path))
