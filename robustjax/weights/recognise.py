"""Whose network a file holds: its configuration and its variables, from its arrays.

Nothing is taken for granted: every array is a weight of the one network that the names
and shapes show, or known to be none, or named in an error. What arrays cannot show,
such as the crop or the activation, comes with the source that it is taken from.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import flax.traverse_util

from robustjax.errors import UserError
from robustjax.weights import architecture, fit, layouts, normaliser, parts
from robustjax.weights.architecture import Architecture
from robustjax.weights.files import File
from robustjax.weights.layouts import FD, TORCH, ChannelOrder

# Where a file is from. The first is the only one with FD's names; the others are
# PyTorch's, and differ in what stands around the network.
Kind = Literal[
  "fd", "torchvision", "timm", "robustbench", "madrylab", "ares", "easyrobust"
]

_OTHER = {"rgb": "bgr", "bgr": "rgb"}
_SHAPES = "the file's names and shapes"
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # torchvision's

# How images are made for them, which their files do not say.
FD_IMAGES: Mapping[str, Any] = {
  "data.image_size": 224,
  "data.resize": 256,
  "data.interpolation": "opencv",
  "data.orientation": "exif",
}
_TORCHS_IMAGES: Mapping[str, Any] = {
  **FD_IMAGES,
  "data.interpolation": "bilinear",
  "data.orientation": "stored",
}
_FD_CROP = "FD: cv2's INTER_CUBIC to 256, centre 224"
_TORCHS_CROP = "torchvision's evaluation: 256 bilinear, centre 224"

_Values = dict[str, tuple[Any, str]]
_Notes = dict[str, tuple[str, ...]]


class Recognised(NamedTuple):
  """What a file holds.

  Attributes:
    kind: where it is from, as far as it can be told.
    values: dotted name of a configuration -> the value, and where that is from; none of
      "robustjax", whose files say it themselves.
    variables: {"params", "batch_stats"}, nested, float32, unrolled, of one branch; of
      "robustjax" all branches.
    unused: name of an array -> why it is no weight.
    notes: what was assumed and could be otherwise, a line each -> the names of the
      configuration that it is about: who says one of them knows.
  """

  kind: Kind | Literal["robustjax"]
  values: Mapping[str, tuple[Any, str]]
  variables: Mapping[str, Any]
  unused: Mapping[str, str]
  notes: Mapping[str, tuple[str, ...]]


def recognise(
  file: File,
  *,
  kind: Kind | None = None,
  channel_order: ChannelOrder | None = None,
  part: str | None = None,
) -> Recognised:
  """Tells a file's network, and reads it.

  Args:
    file: from `files.read`.
    kind: where the file is from. It is told from the names if not said; "ares", which
      cannot be, has GELU in its ResNet-152 and WideResNet-50-2.
    channel_order: of the images that the first convolution sees; by default FD's are
      "bgr" and all others "rgb".
    part: of a PyTorch file that holds several networks, what the names of the wanted
      one begin with, as "state_dict_ema"; "." is that without a prefix.

  Raises:
    UserError: one line with the first array that does not fit, and what would.
  """
  try:
    if layouts.are_ours(file.arrays):
      if (kind, channel_order, part) != (None, None, None):
        raise UserError(
          "it was exported here and needs no --kind, --channel_order or --part"
        )
      return _of_ours(file)
    if any(map(FD.in_block.match, file.arrays)):
      if part is not None:
        raise UserError("--part is for PyTorch files, and its names are FD's")
      return _of_fd(file, kind, channel_order)
    if (found := parts.chosen(file.arrays, part)) is not None:
      return _of_torch(file, found, kind, channel_order or TORCH.channel_order)
  except UserError as error:
    raise UserError(f"{file.path}: {error}") from error
  first = next(iter(file.arrays), None)
  raise UserError(
    f"{file.path}: no ResNet in torchvision's names ('layer1.0.conv1.weight') or"
    " FD's ('group0/block0/conv1/W'): "
    + (f"its first array is {first!r}" if first else "it holds no array")
  )


def _of_ours(file: File) -> Recognised:
  flat = {
    name: fit.single(array, name, is_variance=name.endswith("/var"))
    for name, array in file.arrays.items()
  }
  try:
    variables = flax.traverse_util.unflatten_dict(flat, sep="/")
  except (LookupError, TypeError, ValueError) as error:
    raise UserError("one array's name begins another's: export it again") from error
  return Recognised("robustjax", {}, variables, {}, {})


def _of_fd(file: File, kind: Kind | None, said: ChannelOrder | None) -> Recognised:
  if kind not in (None, "fd"):
    raise UserError(f"its names are FD's, so --kind={kind} is wrong")
  full: dict[str, str] = {}
  for name in file.arrays:
    short = name.removesuffix(":0")
    if short in full:
      raise UserError(f"{full[short]} and {name} are two arrays of one name")
    full[short] = name
  named = {short: file.arrays[name] for short, name in full.items()}
  net = fit.told(FD, named, "")
  order = said or FD.channel_order
  variables, used = fit.variables(FD, net, named, "", order)
  unused = {}
  for short, name in full.items():
    if short not in used:
      unused[name] = _or_error(parts.reason_of_fd(short, used), name, file, net)
  values = _network(net) | {
    "model.activation": ("relu", "FD"),
    "model.padding": ("SAME", "FD"),
    "model.input_mean": ((127.5,), "FD: x / 127.5 - 1"),
    "model.input_std": ((127.5,), "FD: x / 127.5 - 1"),
    **{name: (value, _FD_CROP) for name, value in FD_IMAGES.items()},
  }
  notes = _doubts(net)
  if net.channels == 3 and said is None:
    note = (
      f"conv0 is taken to see {order.upper()} images, which its weights do not show;"
      f" if clean accuracy is far too low, import with --channel_order={_OTHER[order]}"
    )
    notes[note] = ()
  return Recognised("fd", values, variables, unused, notes)


def _of_torch(
  file: File, part: parts.Part, kind: Kind | None, order: ChannelOrder
) -> Recognised:
  if kind == "fd":
    raise UserError("its names are torchvision's, so --kind=fd is wrong")
  net = fit.told(TORCH, part.arrays, part.prefix)
  variables, names = fit.variables(TORCH, net, part.arrays, part.prefix, order)
  used = {name: part.prefix + name for name in names}
  scaling, seen = normaliser.find(file.arrays, part, net.channels)
  unused = {name: why for name, why in seen.items() if why}
  weights = {*used.values(), *seen}
  for name, array in file.arrays.items():
    if name not in weights:
      why = parts.no_weight(name, part, used, array)
      unused[name] = _or_error(why, name, file, net)
  values = _network(net) | {
    "model.padding": ("symmetric", "PyTorch"),
    **{name: (value, _TORCHS_CROP) for name, value in _TORCHS_IMAGES.items()},
  }
  notes = _doubts(net)
  notes["the crop is not in the file: torchvision's is taken"] = tuple(_TORCHS_IMAGES)
  _scale(values, notes, scaling, net.channels)
  _activate(values, notes, kind, net)
  kind = kind or _kind(file, part, scaling)
  return Recognised(kind, values, variables, unused, notes)


def _or_error(why: str | None, name: str, file: File, net: Architecture) -> str:
  if why is None:
    raise UserError(
      f"{name} {list(file.arrays[name].shape)} is no array of a"
      f" {architecture.words(net)}, nor known to be anything else"
    )
  return why


def _doubts(net: Architecture) -> _Notes:
  """What is odd about a network, though all of its arrays fit."""
  notes: _Notes = {}
  if architecture.depth(net) is None:
    notes[f"no published ResNet has stages of {net.stages} {net.block} blocks"] = ()
  if net.stem == 3:
    notes["the stem is taken to have stride 1, which its weights do not show"] = ()
  return notes


def _network(net: Architecture) -> _Values:
  if net.stem not in (7, 3):
    raise UserError(f"a first convolution of side {net.stem}: 7 and 3 are known")
  depth = architecture.depth(net)
  values = {
    "model.depth": depth or 0,
    "model.stages": () if depth else net.stages,
    "model.block": "" if depth else net.block,  # which the depth has
    "model.width": net.width,
    "model.bottleneck": net.bottleneck,
    "model.cardinality": net.cardinality,
    "model.non_local": net.non_local,
    "model.norm": "bn",
    "model.stem": "imagenet" if net.stem == 7 else "small",
    "data.classes": net.classes,
    "data.channels": net.channels,
  }
  return {name: (value, _SHAPES) for name, value in values.items()}


def _scale(
  values: _Values,
  notes: _Notes,
  found: normaliser.Normaliser | None,
  channels: int,
) -> None:
  """Adds the normaliser, for pixels of 0..255."""
  if found is not None:
    mean, std, source = found.mean, found.std, f"the file: {found.names[0]}"
  else:
    mean, std = _IMAGENET if channels == 3 else ((0.5,), (0.5,))
    source = "not in the file; " + ("ImageNet's" if channels == 3 else "to -1..1")
    note = (
      f"no normaliser in the file: mean {mean} and std {std} of pixels of 0..1 are"
      " taken; a network without one needs --mean=0 --std=1"
    )
    notes[note] = "model.input_mean", "model.input_std"
  for name, of_one in (("model.input_mean", mean), ("model.input_std", std)):
    values[name] = tuple(round(255 * x, 6) for x in of_one), source


def _activate(
  values: _Values, notes: _Notes, kind: Kind | None, net: Architecture
) -> None:
  """Adds the activation, which no array shows."""
  bottleneck = {152: 1, 50: 2}.get(architecture.depth(net) or 0)  # of ARES's with GELU
  gelu = kind == "ares" and net.bottleneck == bottleneck
  values["model.activation"] = ("gelu", "ARES") if gelu else ("relu", "torchvision")
  if kind is None and net.bottleneck == bottleneck:
    note = "the activation is taken to be ReLU; ARES's is GELU: --kind=ares"
    notes[note] = ("model.activation",)


def _kind(file: File, part: parts.Part, scaling: normaliser.Normaliser | None) -> Kind:
  """Where a file is from by what stands around the network."""
  if scaling is not None:
    return "madrylab" if scaling.names[0].endswith("new_mean") else "robustbench"
  if any(name == "args" or name.startswith("args.") for name in file.extras):
    return "easyrobust"  # or timm's training script, whose form it has
  return "robustbench" if part.root.split(".")[-1] == "model" else "torchvision"
