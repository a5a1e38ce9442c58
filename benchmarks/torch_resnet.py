"""A robustjax ResNet of basic blocks in PyTorch, with the same weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

EPSILON = 1e-5


class ResNet(torch.nn.Module):
  """Images [n, c, h, w] in 0..1 to logits [n, classes], channels last in memory.

  Args:
    variables: of one branch, as `robustjax.models.norm.branch_of` gives them, or of a
      network with group norm.
    stages: blocks a stage.
    stride: of the stem's 3x3 convolution.
    groups: of channels, under group norm.
  """

  def __init__(
    self,
    variables: Mapping[str, Any],
    stages: Sequence[int],
    stride: int,
    groups: int = 0,
  ):
    super().__init__()
    self._stages, self._stride, self._groups = stages, stride, groups
    self._arrays: dict[str, torch.Tensor] = {}
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
        array = array.permute(3, 2, 0, 1)
        array = array.contiguous(memory_format=torch.channels_last)
      self._arrays[path + name] = array

  def forward(self, images: torch.Tensor) -> torch.Tensor:
    """Logits of a batch."""
    x = (images * 2 - 1).contiguous(memory_format=torch.channels_last)
    x = F.relu(self._norm(self._conv(x, "conv0", self._stride), "bn0"))
    for stage, count in enumerate(self._stages):
      for block in range(count):
        stride = 2 if stage and not block else 1
        x = self._block(x, f"stage{stage + 1}_block{block + 1}.", stride)
    head = self._arrays
    return x.mean((2, 3)) @ head["fc.kernel"] + head["fc.bias"]

  def _block(self, x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
    y = self._norm(self._conv(x, f"{name}conv1", stride), f"{name}bn1")
    y = self._norm(self._conv(F.relu(y), f"{name}conv2"), f"{name}bn2")
    if f"{name}shortcut_conv.kernel" in self._arrays:
      x = self._conv(x, f"{name}shortcut_conv", stride)
      x = self._norm(x, f"{name}shortcut_bn")
    return F.relu(y + x)

  def _conv(self, x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
    kernel = self._arrays[f"{name}.kernel"]
    size, side = kernel.shape[-1], x.shape[-1]
    total = max((-(-side // stride) - 1) * stride + size - side, 0)  # SAME
    if total % 2:
      low, high = total // 2, total - total // 2
      x = F.pad(x, (low, high, low, high))
      return F.conv2d(x, kernel, stride=stride)
    return F.conv2d(x, kernel, stride=stride, padding=total // 2)

  def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
    scale, bias = (self._arrays[f"{name}.{leaf}"] for leaf in ("scale", "bias"))
    if self._groups:
      return F.group_norm(x, self._groups, scale, bias, EPSILON)
    mean, var = (self._arrays[f"{name}.{leaf}"] for leaf in ("mean", "var"))
    return F.batch_norm(x, mean, var, scale, bias, False, 0.0, EPSILON)
