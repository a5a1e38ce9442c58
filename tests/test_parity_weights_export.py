"""What is exported is torchvision's network, and the printed code computes as ours."""

import jax
import numpy as np
import pytest

from robustjax.run import network
from robustjax.weights import exported, imported, pytorch
from robustjax.weights.imported import Said

pytestmark = pytest.mark.parity

WHY = "`make parity` installs what the parity tests compare with"
torch = pytest.importorskip("torch", reason=WHY)
pytest.importorskip("safetensors.torch", reason=WHY)
try:
  torchvision = pytest.importorskip("torchvision", reason=WHY)
except RuntimeError:  # as in test_parity_resnet
  OPERATORS = torch.library.Library("torchvision", "DEF")
  for operator in ("nms", "qnms"):
    OPERATORS.define(f"{operator}(Tensor a, Tensor b, float c) -> Tensor")
  torchvision = pytest.importorskip("torchvision", reason=WHY)

from torchvision.models import resnet  # noqa: E402

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
SIZE = {"data.image_size": (32, "a flag"), "data.resize": (-1, "a flag")}
TENSORFLOWS = {
  "model.padding": ("SAME", "a flag"),
  "model.activation": ("gelu", "a flag"),
  "model.input_mean": ((127.5,), "a flag"),
  "model.input_std": ((127.5,), "a flag"),
}


def theirs(block, **attributes):
  """A network of torchvision's class in which everything matters."""
  torch.manual_seed(0)
  net = resnet.ResNet(block, [1, 1, 1, 1], num_classes=10, **attributes).eval()
  for name, tensor in net.state_dict().items():
    if name.endswith("running_var"):
      tensor.uniform_(0.5, 2.0)
    elif tensor.ndim == 1:
      tensor.uniform_(0.5, 1.5) if "weight" in name else tensor.normal_(0.0, 0.3)
  return net


def printed(config, form, path):
  """The network of the printed code."""
  names = {}
  exec(pytorch.code(config, form, str(path)), names)
  return names["network"]()


def on(net, images=IMAGES):
  with torch.no_grad():
    return net(torch.tensor(images.transpose(0, 3, 1, 2) / 255).float()).numpy()


def ours(found):
  logits = network.logits_fn(found.config, "cpu", exact=True)
  return np.asarray(jax.jit(logits)(found.variables, IMAGES))


def apart(a, b):
  return np.linalg.norm(a - b) / np.linalg.norm(b)


# Measured: 4e-7 and 6e-7.
@pytest.mark.parametrize(
  ("block", "attributes", "said", "form", "ending"),
  [
    (resnet.BasicBlock, {}, {}, "torchvision", "pth"),
    (resnet.Bottleneck, {"groups": 4, "width_per_group": 32}, TENSORFLOWS,
     "safetensors", "safetensors"),
  ],
)  # fmt: skip
def test_the_code_computes_what_the_run_does(
  block, attributes, said, form, ending, tmp_path
):
  net, path, out = theirs(block, **attributes), tmp_path / "a.pth", tmp_path / "b"
  torch.save(net.state_dict(), path)
  found = imported.read(path, Said({}, SIZE | said))
  named = exported.arrays(found.config, found.variables, None, form)
  exported.write(found.config, named, form, out)
  back = printed(found.config, form, out)
  for name, tensor in back[1].state_dict().items():  # to the last bit
    torch.testing.assert_close(tensor, net.state_dict()[name], rtol=0, atol=0)
  logits = on(back)
  assert apart(logits, ours(found)) < 1e-5
  assert bool(pytorch.differences(found.config)) == bool(said)
  plain = torch.nn.Sequential(back[0], net)
  assert (apart(on(plain), logits) < 1e-5) == (not said)
