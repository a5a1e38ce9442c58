"""Which network some arrays are of, and its variables from them."""

import collections
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from robustjax.errors import UserError
from robustjax.weights import architecture, layouts
from robustjax.weights.architecture import Architecture, Shape
from robustjax.weights.layouts import ChannelOrder, Layout


def told(layout: Layout, named: Mapping[str, np.ndarray], prefix: str) -> Architecture:
  """The network that arrays are of, by their names and shapes.

  Which of them fits it and which does not is for `variables` to say: one that is not as
  the others are does not change the result where the others can be asked.

  Args:
    layout: of the names and axes.
    named: name -> array.
    prefix: before each name in the file, for messages.

  Raises:
    UserError: the first or the last array lacks.
  """
  shapes = {
    name: _our_shape(layout, array.shape)
    for name, array in named.items()
    if array.ndim in (2, 4)
  }

  def shape(*path: str, axes: int) -> Shape | None:
    found = shapes.get(layouts.name(layout, ("params", *path, "kernel")))
    return found if found and len(found) == axes and min(found) > 0 else None

  stem, head = shape("conv0", axes=4), shape("fc", axes=2)
  if stem is None or head is None:
    path = ("params", "fc" if stem else "conv0", "kernel")
    raise UserError(
      f"no array {prefix}{layouts.name(layout, path)} that is a"
      f" {'matrix' if stem else 'convolution'}, which a ResNet has"
    )
  found = [match for match in map(layout.in_block.match, named) if match]
  counts: dict[int, int] = {}
  for match in found:
    stage = int(match[1]) - layout.first
    counts[stage] = max(counts.get(stage, 0), int(match[2]) + 1)
  stages = tuple(counts.get(stage, 1) for stage in range(max(counts, default=0) + 1))
  bottleneck = any(match.string[match.end() :].startswith("conv3") for match in found)
  width, inner, groups = stem[3], [], []
  for stage, block in {(int(m[1]) - layout.first, int(m[2])) for m in found}:
    name = f"stage{stage + 1}_block{block + 1}"
    if stage >= 0 and (first := shape(name, "conv1", axes=4)):
      inner.append(first[3] // (width * 2**stage))
    if stage >= 0 and (second := shape(name, "conv2", axes=4)):
      groups.append(second[3] // second[2])
  return Architecture(
    stages=stages,
    block="bottleneck" if bottleneck else "basic",
    width=width,
    bottleneck=_most_common(inner) if bottleneck else 1,
    cardinality=_most_common(groups) if bottleneck else 1,
    non_local=_non_local(layout, named),
    stem=stem[0],
    channels=stem[2],
    classes=head[1],
  )


def variables(
  layout: Layout,
  net: Architecture,
  named: Mapping[str, np.ndarray],
  prefix: str,
  channel_order: ChannelOrder,
) -> tuple[dict[str, Any], list[str]]:
  """A network's variables from its arrays in a layout.

  Args:
    layout: of the names and axes.
    net: from `told`.
    named: name -> array.
    prefix: before each name in the file, for messages.
    channel_order: of the images that the layout's conv0 sees.

  Returns:
    {"params", "batch_stats"}, nested, float32; and the names that they were under.

  Raises:
    UserError: the first array, in the network's order, that is missing, of another
      shape or type, not finite, or a negative variance.
  """
  tree: dict[str, Any] = {}
  used = []
  for path, shape in architecture.arrays(net):
    name, expected = layouts.name(layout, path), layouts.their_shape(layout, shape)
    if name not in named:
      raise UserError(
        f"no array {prefix}{name} {list(expected)}, which a"
        f" {architecture.words(net)} has"
      )
    array = named[name]
    if array.shape != expected:
      raise UserError(
        f"{prefix}{name} has the shape {list(array.shape)}, where a"
        f" {architecture.words(net)} has {list(expected)}"
      )
    array = single(array, f"{prefix}{name}", is_variance=path[-1] == "var")
    *parents, leaf = path
    node = tree
    for key in parents:
      node = node.setdefault(key, {})
    node[leaf] = layouts.ours(layout, path, array, channel_order)
    used.append(name)
  return tree, used


def _our_shape(layout: Layout, shape: Shape) -> Shape:
  axes = layout.axes.get(len(shape), range(len(shape)))
  return tuple(shape[i] for i in np.argsort(axes))


def _non_local(
  layout: Layout, names: Iterable[str]
) -> Literal["none", "stages", "blocks"]:
  if not layout.non_local:
    return "none"
  stages = tuple(layout.non_local.format(index) for index in range(10))
  if any(name.startswith(stages) for name in names):
    return "stages"
  return "blocks" if any("/non_local/" in name for name in names) else "none"


def _most_common(numbers: list[int]) -> int:
  return max(1, collections.Counter(numbers).most_common(1)[0][0]) if numbers else 1


def single(array: np.ndarray, name: str, is_variance: bool) -> np.ndarray:
  """A weight in float32.

  Raises:
    UserError: it is of another type, not finite, or a negative variance.
  """
  if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
    raise UserError(f"{name} is of {array.dtype.name}, where weights are floats")
  with np.errstate(over="ignore"):
    found = array.astype(np.float32, copy=False)
  if not np.isfinite(found).all():
    raise UserError(f"{name} has values that are not finite in float32")
  if is_variance and (found < 0).any():
    raise UserError(f"{name} has negative values, where variances belong")
  return found
