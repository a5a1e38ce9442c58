"""torchvision's ResNet: which networks it can be, and the code that makes it one."""

from collections.abc import Iterator, Sequence
from typing import Any

from robustjax.config import Config
from robustjax.run import network as networks

_TORCH = '''\
import torch
from torchvision import transforms
from torchvision.models import resnet


def network():
  """From images [n, {channels}, h, w] of 0..1 to logits [n, {classes}]."""
  net = resnet.ResNet(
    resnet.{block}, {stages}, num_classes={classes},
    groups={groups}, width_per_group={width_per_group},
  )
  net.load_state_dict({load})
{mended}\
  scaled = transforms.Normalize(
    {mean}, {std}
  )
  return torch.nn.Sequential(scaled, net).eval()
'''
_LOADS = {
  "torchvision": "torch.load({file!r}, weights_only=True)",
  "safetensors": "safetensors.torch.load_file({file!r})",
}

_PADDED = """\
  for layer in net.modules():
    if isinstance(layer, (torch.nn.Conv2d, torch.nn.MaxPool2d)):
      layer.padding = 0
      layer.register_forward_pre_hook(pad)
"""
_PAD = '''

def pad(layer, inputs):
  """Pads as TensorFlow does: an odd rest to the right and below."""
  (x,) = inputs
  pool = isinstance(layer, torch.nn.MaxPool2d)
  size, stride = (layer.kernel_size, layer.stride) if pool else (
    layer.kernel_size[0], layer.stride[0])
  pads = []
  for side in (x.shape[3], x.shape[2]):
    rest = max((-(-side // stride) - 1) * stride + size - side, 0)
    pads += [rest // 2, rest - rest // 2]
  return torch.nn.functional.pad(x, pads, value=-torch.inf if pool else 0.0)
'''
_GELU = """\
  for module in net.modules():
    if hasattr(module, "relu"):
      module.relu = torch.nn.GELU()
"""


def not_held(config: Config) -> Iterator[tuple[Any, str]]:
  """Yields for each thing that the class cannot be whether a network is that.

  Args:
    config: of a network with batch normalisation, without non-local blocks.

  Yields:
    Whether it is, and what in words.
  """
  model, channels = config.model, config.data.channels
  yield model.stem != "imagenet", f"config.model.stem={model.stem!r}, only 'imagenet'"
  yield channels != 3, f"images of config.data.channels={channels}, only of 3"
  yield model.width != 64, f"config.model.width={model.width}, only 64"
  stages = len(networks.resnet_of(config, "cpu").stages)
  yield stages != 4, f"{stages} stages, only 4"
  groups = model.cardinality
  yield 64 * model.bottleneck % groups, f"config.model.cardinality={groups}"


def differences(config: Config) -> list[str]:
  """What the class computes otherwise, without a word, from a network's arrays."""
  found = {
    "pads both sides alike, and this network as TensorFlow does"
    " (config.model.padding='SAME')": config.model.padding == "SAME",
    "has ReLU, and this network GELU": config.model.activation == "gelu",
  }
  return [what for what, is_so in found.items() if is_so]


def remedy(config: Config) -> str:
  """What comes with a file of a network that the class computes otherwise."""
  if any(is_so for is_so, _ in not_held(config)):
    return "for PyTorch code of your own, as it is none of that class's networks"
  return "and prints the code that computes the same"


def code(config: Config, form: str, file: str) -> str:
  """Code that makes a file a function of images.

  Args:
    config: of the run.
    form: that it was exported to.
    file: its name.

  Returns:
    Python, which ends in a line break. Where no class of torchvision's is the network,
    and for FD's form and ours, a comment alone.
  """
  model, data = config.model, config.data
  if form == "fd":
    return f"# {file} is for FD's code, whose images are BGR, x / 127.5 - 1.\n"
  if form == "robustjax":
    return f"# robustjax.weights.logits_fn({file!r}, branch) is its function.\n"
  if any(is_so for is_so, _ in not_held(config)):
    return (
      f"# {file} has torchvision's names, and a network that is none of its classes:\n"
      "# what it is stands in the file, in entries that begin with 'robustjax.';\n"
      "# there is no PyTorch code of it.\n"
    )
  net = networks.resnet_of(config, "cpu")
  bottleneck = net.block == "bottleneck"
  padded, gelu = model.padding == "SAME", model.activation == "gelu"
  text = _TORCH.format(
    channels=data.channels,
    classes=data.classes,
    block="Bottleneck" if bottleneck else "BasicBlock",
    stages=list(net.stages),
    groups=model.cardinality if bottleneck else 1,
    width_per_group=64 * model.bottleneck // model.cardinality if bottleneck else 64,
    load=_LOADS[form].format(file=file),
    mended=_PADDED * padded + _GELU * gelu,
    mean=_of_one(model.input_mean, data.channels),
    std=_of_one(model.input_std, data.channels),
  )
  needed = "import safetensors.torch\n" * (form == "safetensors")
  return needed + text + _PAD * padded


def _of_one(values: Sequence[float], channels: int) -> list[float]:
  """Of pixels of 0..1, one for each channel."""
  shares = [round(value / 255, 9) for value in values]  # more than float32 has
  return shares * channels if len(shares) == 1 else shares
