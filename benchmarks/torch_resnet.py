"""A robustjax ResNet in PyTorch, with the same weights."""

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

EPSILON, MOMENTUM = 1e-5, 0.9  # as robustjax.models.norm


class ResNet(torch.nn.Module):
  """Images [n, c, h, w] in 0..1 to logits [n, classes].

  Args:
    variables: as flax has them, nested dicts of arrays: of one branch, as
      `robustjax.models.norm.branch_of` gives them, of MBN, or of a network with group
      norm. Blocks and stem are those that the variables are of.
    stages: blocks a stage.
    stride: of the stem's convolution.
    groups: of channels, under group norm.
    padding: "SAME" as TensorFlow, or "symmetric" as PyTorch.
    layout: of images and kernels in memory.
    dtype: of the computation; weights stay float32.
  """

  def __init__(
    self,
    variables: Mapping[str, Any],
    stages: Sequence[int],
    stride: int,
    groups: int = 0,
    padding: Literal["SAME", "symmetric"] = "SAME",
    layout: torch.memory_format = torch.channels_last,
    dtype: torch.dtype = torch.float32,
  ):
    super().__init__()
    self._stages, self._stride, self._groups = stages, stride, groups
    self._padding, self._layout, self._dtype = padding, layout, dtype
    self.arrays: dict[str, torch.Tensor] = {}
    for kind in ("params", "batch_stats"):
      self._take(variables.get(kind, {}), "")

  def _take(self, tree: Mapping[str, Any], path: str) -> None:
    for name, value in tree.items():
      if isinstance(value, Mapping):
        # The layer of a branch is called "all", which says nothing here.
        self._take(value, path if name == "all" else f"{path}{name}.")
        continue
      array = torch.tensor(np.asarray(value, np.float32))
      if array.ndim == 4:  # HWIO to OIHW
        array = array.permute(3, 2, 0, 1).contiguous(memory_format=self._layout)
      self.arrays[path + name] = array

  def weights(self) -> dict[str, torch.Tensor]:
    """What is trained, by its name with dots."""
    return {
      name: array
      for name, array in self.arrays.items()
      if name.rpartition(".")[2] not in ("mean", "var")
    }

  def moved(self, device: str) -> "ResNet":
    """The same network on a device, its weights wanting gradients."""
    twin = copy.copy(self)
    twin.arrays = {name: array.to(device) for name, array in self.arrays.items()}
    for array in twin.weights().values():
      array.requires_grad_()
    return twin

  def fixed(self) -> "ResNet":
    """The same network on the same arrays, whose weights want no gradients."""
    twin = copy.copy(self)
    twin.arrays = {name: array.detach() for name, array in self.arrays.items()}
    return twin

  def forward(
    self, images: torch.Tensor, branch: str = "", batches: int = 0
  ) -> torch.Tensor:
    """Logits of a batch.

    Args:
      images: pixels in 0..1.
      branch: of MBN's norms, "clean" or "adv".
      batches: parts of the batch that are normalised with statistics of their own,
        which move the running ones; 0 normalises with the running ones.
    """
    norm = functools.partial(self._norm, branch=branch, batches=batches)
    x = (images * 2 - 1).to(self._dtype).contiguous(memory_format=self._layout)
    x = F.relu(norm(self._conv(x, "conv0", self._stride), "bn0"))
    if self.arrays["conv0.kernel"].shape[-1] == 7:
      low, high = self._pads(x.shape[-1], 3, 2)
      if low != high:  # behind a ReLU nothing is below 0
        x, low = F.pad(x, (low, high, low, high)), 0
      x = F.max_pool2d(x, 3, 2, low)
    for stage, count in enumerate(self._stages):
      for block in range(count):
        stride = 2 if stage and not block else 1
        x = self._block(x, f"stage{stage + 1}_block{block + 1}.", stride, norm)
    head = self.arrays
    return x.float().mean((2, 3)) @ head["fc.kernel"] + head["fc.bias"]

  def _block(
    self, x: torch.Tensor, name: str, stride: int, norm: Callable[..., torch.Tensor]
  ) -> torch.Tensor:
    bottleneck = f"{name}conv3.kernel" in self.arrays
    first, second = (1, stride) if bottleneck else (stride, 1)
    y = F.relu(norm(self._conv(x, f"{name}conv1", first), f"{name}bn1"))
    y = norm(self._conv(y, f"{name}conv2", second), f"{name}bn2")
    if bottleneck:
      y = norm(self._conv(F.relu(y), f"{name}conv3"), f"{name}bn3")
    if f"{name}shortcut_conv.kernel" in self.arrays:
      x = norm(self._conv(x, f"{name}shortcut_conv", stride), f"{name}shortcut_bn")
    return F.relu(y + x)

  def _pads(self, side: int, size: int, stride: int) -> tuple[int, int]:
    if self._padding == "symmetric":
      return size // 2, size // 2
    total = max((-(-side // stride) - 1) * stride + size - side, 0)
    return total // 2, total - total // 2

  def _conv(self, x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
    kernel = self.arrays[f"{name}.kernel"].to(self._dtype)
    low, high = self._pads(x.shape[-1], kernel.shape[-1], stride)
    if low != high:
      x, low = F.pad(x, (low, high, low, high)), 0
    return F.conv2d(x, kernel, stride=stride, padding=low)

  def _norm(
    self, x: torch.Tensor, name: str, branch: str, batches: int
  ) -> torch.Tensor:
    if f"{name}.{branch}.scale" in self.arrays:
      name = f"{name}.{branch}"
    scale, bias = (self.arrays[f"{name}.{leaf}"] for leaf in ("scale", "bias"))
    if self._groups:
      return F.group_norm(x, self._groups, scale, bias, EPSILON)
    mean, var = (self.arrays[f"{name}.{leaf}"] for leaf in ("mean", "var"))
    if not batches:
      return F.batch_norm(x, mean, var, scale, bias, False, 0.0, EPSILON)
    if batches == 1:
      return F.batch_norm(x, mean, var, scale, bias, True, 1 - MOMENTUM, EPSILON)
    parts, means, inverses = zip(
      *(
        torch.native_batch_norm(part, scale, bias, None, None, True, 0.0, EPSILON)
        for part in x.chunk(batches)
      ),
      strict=True,
    )
    with torch.no_grad():
      count = x.numel() // x.shape[1] // batches
      unbiased = (torch.stack(inverses) ** -2 - EPSILON) * (count / (count - 1))
      mean.lerp_(torch.stack(means).mean(0), 1 - MOMENTUM)
      var.lerp_(unbiased.mean(0), 1 - MOMENTUM)
    return torch.cat(parts)
