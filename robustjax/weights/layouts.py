"""The names and axes that PyTorch's ResNets and FD have for our variables.

A path is where our variables hold an array, unrolled and of one branch:
("params", "stage1_block1", "bn1", "all", "scale").
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from robustjax.errors import UserError

Path = tuple[str, ...]
ChannelOrder = Literal["rgb", "bgr"]

CONV0: Path = ("params", "conv0", "kernel")

_MODULE = re.compile(r"stage(\d+)_(?:block(\d+)|non_local)")


class Layout(NamedTuple):
  """How others store a network.

  Attributes:
    library: whose it is.
    separator: between the parts of a name.
    block: of a block's name, from the stage's number and the block's, which is from 0.
    in_block: the same as a pattern that names of a block's arrays begin with.
    first: the number of the first stage.
    non_local: of the name of a stage's non-local block; empty if it has no such thing.
    modules: our name of a module -> theirs, where they differ.
    leaves: our name of an array -> theirs, where they differ; "fc.bias" before "bias".
    axes: number of axes -> our axes in their order, where it is another.
    channel_order: of the images that conv0 sees.
  """

  library: str
  separator: str
  block: str
  in_block: re.Pattern[str]
  first: int
  non_local: str
  modules: Mapping[str, str]
  leaves: Mapping[str, str]
  axes: Mapping[int, tuple[int, ...]]
  channel_order: ChannelOrder


# torchvision's and timm's ResNets, and all that are made of these.
TORCH = Layout(
  library="torchvision",
  separator=".",
  block="layer{}.{}",
  in_block=re.compile(r"layer([0-9]{1,3})\.([0-9]{1,4})\."),
  first=1,
  non_local="",
  modules={
    "conv0": "conv1",
    "bn0": "bn1",
    "shortcut_conv": "downsample.0",
    "shortcut_bn": "downsample.1",
  },
  leaves={
    "kernel": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
  },
  axes={4: (3, 2, 0, 1), 2: (1, 0)},  # OIHW of HWIO
  channel_order="rgb",
)

# facebookresearch/ImageNet-Adversarial-Training, on tensorpack.
FD = Layout(
  library="FD",
  separator="/",
  block="group{}/block{}",
  in_block=re.compile(r"group([0-9]{1,3})/block([0-9]{1,4})/"),
  first=0,
  non_local="group{}_denoise",
  modules={
    **{f"bn{index}": f"conv{index}/bn" for index in range(4)},
    "shortcut_conv": "convshortcut",
    "shortcut_bn": "convshortcut/bn",
    "theta": "embedding_theta",
    "phi": "embedding_phi",
    "bn": "conv/bn",
    "fc": "linear",
  },
  leaves={
    "kernel": "W",
    "scale": "gamma",
    "bias": "beta",
    "mean": "mean/EMA",
    "var": "variance/EMA",
    "fc.bias": "b",
  },
  axes={},
  channel_order="bgr",
)


def name(layout: Layout, path: Path) -> str:
  """What a layout calls the array at a path.

  Raises:
    UserError: the layout has no such thing.
  """
  *modules, leaf = (part for part in path[1:] if part != "all")
  parts = []
  for module in modules:
    found = _MODULE.fullmatch(module)
    if found is None:
      if module == "non_local" and not layout.non_local:
        raise _no_such_block(layout)
      parts.append(layout.modules.get(module, module))
      continue
    stage = int(found[1]) - 1 + layout.first
    if found[2] is None and not layout.non_local:
      raise _no_such_block(layout)
    block = int(found[2]) - 1 if found[2] else None
    form = layout.non_local if block is None else layout.block
    parts.append(form.format(stage, block))
  of_module = f"{modules[-1]}.{leaf}"
  parts.append(layout.leaves.get(of_module, layout.leaves.get(leaf, leaf)))
  return layout.separator.join(parts)


def their_shape(layout: Layout, shape: tuple[int, ...]) -> tuple[int, ...]:
  """The shape that an array of ours has in a layout."""
  return tuple(shape[axis] for axis in layout.axes.get(len(shape), range(len(shape))))


def ours(
  layout: Layout, path: Path, array: np.ndarray, channel_order: ChannelOrder
) -> np.ndarray:
  """An array of a layout with our axes and conv0 for RGB, contiguous.

  Args:
    layout: whose array it is.
    path: where ours is.
    array: theirs.
    channel_order: of the images that theirs sees.
  """
  if axes := layout.axes.get(array.ndim):
    array = array.transpose(np.argsort(axes))
  return np.ascontiguousarray(_reversed(path, array, channel_order))


def to_torch(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """A network's arrays as a state dict of torchvision's or timm's ResNet.

  Args:
    variables: {"params": ..., "batch_stats": ...}, nested, unrolled
      (`blocks.unstack`), with batch normalisation of one branch, "all"
      (`norm.branch_of`).

  Returns:
    Name -> array, with PyTorch's axes. Counts of batches, which PyTorch can do
    without, are not among them.

  Raises:
    UserError: the network has non-local blocks.
  """
  return _theirs(TORCH, variables, TORCH.channel_order)


def to_fd(
  variables: Mapping[str, Any], channel_order: ChannelOrder = "bgr"
) -> dict[str, np.ndarray]:
  """A network's arrays as FD's npz names them.

  Args:
    variables: as for `to_torch`; non-local blocks are welcome.
    channel_order: of the images that conv0 shall see; FD's code has "bgr".

  Returns:
    Name -> array, without TensorFlow's ":0".
  """
  return _theirs(FD, variables, channel_order)


def to_ours(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """All branches' arrays, unrolled, by paths such as "params/bn0/adv/scale"."""
  return {"/".join(path): np.asarray(a) for path, a in sorted(_flat(variables))}


def are_ours(names: Collection[str]) -> bool:
  """Whether names are of `to_ours`."""
  ours = ("params/", "batch_stats/")
  return bool(names) and all(name.startswith(ours) for name in names)


def _theirs(
  layout: Layout, variables: Mapping[str, Any], channel_order: ChannelOrder
) -> dict[str, np.ndarray]:
  found = {}
  for path, array in _flat({k: variables[k] for k in ("params", "batch_stats")}):
    array = _reversed(path, np.asarray(array), channel_order)
    array = array.transpose(layout.axes.get(array.ndim, range(array.ndim)))
    found[name(layout, path)] = np.ascontiguousarray(array)
  return found


def _reversed(path: Path, array: np.ndarray, order: ChannelOrder) -> np.ndarray:
  return array[:, :, ::-1] if path == CONV0 and order == "bgr" else array


def _flat(tree: Mapping[str, Any], path: Path = ()) -> list[tuple[Path, Any]]:
  found: list[tuple[Path, Any]] = []
  for key, child in tree.items():
    if isinstance(child, Mapping):
      found += _flat(child, (*path, key))
    else:
      found.append(((*path, key), child))
  return found


def _no_such_block(layout: Layout) -> UserError:
  return UserError(
    f"the network has non-local blocks, which {layout.library}'s ResNets lack:"
    " take --to=fd"
  )
