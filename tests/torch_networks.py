"""torchvision's networks for parity tests, which skips those without PyTorch."""

import numpy as np
import pytest

WHY = "`make parity` installs what the parity tests compare with"
torch = pytest.importorskip("torch", reason=WHY)
try:
  torchvision = pytest.importorskip("torchvision", reason=WHY)
except RuntimeError:
  # A torchvision built for another torch (the GPU's beside the CPU's) does not load
  # its operators, and its import fails for want of these two. No net here needs
  # them. They last as long as OPERATORS does.
  OPERATORS = torch.library.Library("torchvision", "DEF")
  for operator in ("nms", "qnms"):
    OPERATORS.define(f"{operator}(Tensor a, Tensor b, float c) -> Tensor")
  torchvision = pytest.importorskip("torchvision", reason=WHY)


def lively(net):
  """A network with nothing of a norm layer left at its initial 0 or 1."""
  torch.manual_seed(0)
  for name, tensor in net.state_dict().items():
    if name.endswith("running_var"):
      tensor.uniform_(0.5, 2.0)
    elif tensor.ndim == 1 and name.endswith("weight"):
      tensor.uniform_(0.5, 1.5)
    elif tensor.ndim == 1:
      tensor.normal_(0.0, 0.3)
  return net.eval()


def nchw(pixels):
  """[n, h, w, c] as PyTorch's [n, c, h, w], contiguous."""
  return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
