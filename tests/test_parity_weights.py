"""Files of others' networks are read as the networks that wrote them.

torchvision's and timm's classes write and load them themselves; wrappers and FD's graph
are written here once more, in PyTorch.
"""

import argparse
import functools

import jax
import numpy as np
import pytest

from robustjax import config as configs
from robustjax.models import blocks
from robustjax.run import network as networks
from robustjax.weights import architecture, files, layouts, recognise
from tests import weights_made as made
from tests.torch_networks import WHY, lively, nchw, torch, torchvision

pytestmark = pytest.mark.parity
timm = pytest.importorskip("timm", reason=WHY)

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.float32)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLOSE = 1e-5  # relative, L2; measured: 5e-7 to 1.1e-6


def ours(found):
  """Logits of what was imported, by the configuration that goes with it."""
  values = {
    name: value
    for name, (value, _) in found.values.items()
    if name.startswith("model.") or name in ("data.classes", "data.channels")
  }
  logits = compiled(tuple(values.items()))
  return np.asarray(logits(blocks.stack(found.variables), PIXELS))


@functools.cache
def compiled(values):
  config = configs.base("weights")
  for name, value in values:
    configs.change(config, name, value, "the file")
  configs.check(config)
  return jax.jit(networks.network(config, "cpu", exact=True).apply)


def theirs(net, mean=MEAN, std=STD):
  images = nchw(PIXELS) / 255
  mean, std = (torch.tensor(x)[:, None, None] for x in (mean, std))
  with torch.no_grad():
    return net((images - mean) / std).numpy()


def assert_close(found, expected):
  assert np.isfinite(expected).all() and np.ptp(expected) > 0.1
  assert np.linalg.norm(found - expected) < CLOSE * np.linalg.norm(expected)


def lively_net(name):
  return lively(getattr(torchvision.models, name)(weights=None))


def imported(path, thing, **options):
  torch.save(thing, path, **options)
  return files.read(path)


@pytest.mark.parametrize(
  "name",
  ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2"],
)
def test_torchvision_and_timm_in_both_directions(name):
  net = lively_net(name)
  expected = theirs(net)
  state = {key: value.numpy() for key, value in net.state_dict().items()}
  found = recognise.recognise(made.file(state))
  assert_close(ours(found), expected)
  exported = layouts.to_torch(found.variables)
  assert exported.keys() == state.keys() - found.unused.keys()
  assert all(np.array_equal(exported[key], state[key]) for key in exported)
  tensors = {key: torch.from_numpy(array) for key, array in exported.items()}
  with torch.device("meta"):
    others = getattr(torchvision.models, name)(weights=None), timm.create_model(name)
  for other in others:
    other.load_state_dict(tensors, strict=True, assign=True)
    assert other.state_dict().keys() == state.keys()
  assert_close(theirs(others[1].eval()), expected)  # torchvision's has equal arrays


class Normalize(torch.nn.Module):
  """RobustBench's, and MadryLab's with other names."""

  def __init__(self, names, mean, std):
    super().__init__()
    self.names = names
    for name, value in zip(names, (mean, std), strict=True):
      self.register_buffer(name, torch.tensor(value)[:, None, None])

  def forward(self, images):
    mean, std = (getattr(self, name) for name in self.names)
    return (images - mean) / std


def test_robustbench(tmp_path):
  net = lively_net("resnet18")
  steps = {"normalize": Normalize(("mean", "std"), MEAN, STD), "model": net}
  whole = torch.nn.Sequential()
  for name, module in steps.items():
    whole.add_module(name, module)
  found = recognise.recognise(imported(tmp_path / "a.pt", whole.state_dict()))
  assert found.kind == "robustbench"
  assert_close(ours(found), whole(nchw(PIXELS) / 255).detach().numpy())


class Attacker(torch.nn.Module):
  """MadryLab's: it has the network and the normaliser a second time."""

  def __init__(self, model, normalize):
    super().__init__()
    self.normalize, self.model = normalize, model


class AttackerModel(torch.nn.Module):
  def __init__(self, model, mean, std):
    super().__init__()
    self.normalizer = Normalize(("new_mean", "new_std"), mean, std)
    self.model = model
    again = Normalize(("new_mean", "new_std"), mean, std)
    self.attacker = Attacker(model, again)

  def forward(self, images):
    return self.model(self.normalizer(images))


def test_madrylab(tmp_path):
  mean, std = (0.47, 0.45, 0.41), (0.28, 0.27, 0.26)
  whole = torch.nn.DataParallel(AttackerModel(lively_net("resnet18"), mean, std))
  optimizer = torch.optim.SGD(whole.parameters(), 0.1, momentum=0.9)
  whole(nchw(PIXELS) / 255).sum().backward()
  expected = whole(nchw(PIXELS) / 255).detach().numpy()
  state = {key: value.clone() for key, value in whole.state_dict().items()}
  optimizer.step()
  checkpoint = {
    "model": state,
    "optimizer": optimizer.state_dict(),
    "schedule": None,
    "epoch": 90,
    "nat_prec1": torch.tensor(50.0),
  }
  found = recognise.recognise(imported(tmp_path / "a.ckpt", checkpoint))
  assert found.kind == "madrylab"
  assert_close(ours(found), expected)
  twice = [why for why in found.unused.values() if why.startswith("equal to model.")]
  assert len(twice) == 102 + 2
  # A network attacked that is another is not passed over.
  state["module.attacker.model.layer3.1.conv2.weight"][0, 0, 0, 0] += 1
  file = imported(tmp_path / "b.ckpt", checkpoint)
  with pytest.raises(recognise.UserError, match=r"2 networks.*layer3\.1\.conv2"):
    recognise.recognise(file)


def test_easyrobust_with_an_average_of_the_weights(tmp_path):
  net, average = lively_net("resnet18"), lively_net("resnet18")
  average.fc.weight.data.mul_(2)
  checkpoint = {
    "epoch": 90,
    "arch": "resnet18",
    "state_dict": torch.nn.DataParallel(net).state_dict(),
    "state_dict_ema": torch.nn.DataParallel(average).state_dict(),
    "args": argparse.Namespace(model="resnet18", lr=0.1, mean=None),
  }
  file = imported(
    tmp_path / "a.pth.tar", checkpoint, _use_new_zipfile_serialization=False
  )
  assert file.form == "torch, legacy"
  for part, meant in (("state_dict", net), ("state_dict_ema", average)):
    found = recognise.recognise(file, part=part)
    assert found.kind == "easyrobust"
    assert_close(ours(found), theirs(meant))


def test_ares_with_gelu(tmp_path):
  net = lively_net("wide_resnet50_2")
  for module in list(net.modules()):
    if hasattr(module, "relu"):
      module.relu = torch.nn.GELU()
  file = imported(tmp_path / "a.pth", net.state_dict())
  assert_close(ours(recognise.recognise(file, kind="ares")), theirs(net))


class FD:
  """FD's graph in PyTorch, over its own names: TF's SAME padding, BGR, blocks."""

  def __init__(self, arrays):
    self.arrays = {k: torch.from_numpy(v) for k, v in arrays.items()}

  def __call__(self, pixels):
    x = nchw(pixels[..., ::-1] / np.float32(127.5) - 1)
    x = self.bn(self.conv(x, "conv0", 2), "conv0").relu()
    x = torch.nn.functional.max_pool2d(self.same(x, 3, 2, -torch.inf), 3, 2)
    group = 0
    while f"group{group}/block0/conv1/W" in self.arrays:
      block = 0
      while f"group{group}/block{block}/conv1/W" in self.arrays:
        name = f"group{group}/block{block}"
        x = self.block(x, name, 2 if group and not block else 1)
        if f"{name}/non_local/conv/W" in self.arrays:
          x = self.denoise(x, f"{name}/non_local")
        block += 1
      if f"group{group}_denoise/conv/W" in self.arrays:
        x = self.denoise(x, f"group{group}_denoise")
      group += 1
    x = x.mean((2, 3))
    return (x @ self.arrays["linear/W"] + self.arrays["linear/b"]).numpy()

  def block(self, x, name, stride):
    y = self.bn(self.conv(x, f"{name}/conv1"), f"{name}/conv1").relu()
    y = self.bn(self.conv(y, f"{name}/conv2", stride), f"{name}/conv2").relu()
    y = self.bn(self.conv(y, f"{name}/conv3"), f"{name}/conv3")
    if f"{name}/convshortcut/W" in self.arrays:
      x = self.conv(x, f"{name}/convshortcut", stride)
      x = self.bn(x, f"{name}/convshortcut")
    return (x + y).relu()

  def denoise(self, x, name):
    n, c, h, w = x.shape
    values = x.reshape(n, c, h * w)
    if f"{name}/embedding_theta/W" in self.arrays:
      theta, phi = (
        self.conv(x, f"{name}/embedding_{k}").reshape(n, -1, h * w)
        for k in ("theta", "phi")
      )
      scores = torch.einsum("nia,nib->nab", theta, phi) / theta.shape[1] ** 0.5
      f = torch.einsum("nab,nib->nia", scores.softmax(-1), values)
    else:
      dots = torch.einsum("nia,nib->nab", values, values)
      f = torch.einsum("nab,nib->nia", dots, values) / (h * w)
    f = self.conv(f.reshape(n, c, h, w), f"{name}/conv")
    return x + self.bn(f, f"{name}/conv")

  def conv(self, x, name, stride=1):
    kernel = self.arrays[f"{name}/W"].permute(3, 2, 0, 1)
    x = self.same(x, kernel.shape[-1], stride, 0.0)
    groups = x.shape[1] // kernel.shape[1]
    return torch.nn.functional.conv2d(x, kernel, None, stride, groups=groups)

  def bn(self, x, name):
    mean, var, scale, bias = (
      self.arrays[f"{name}/bn/{k}"]
      for k in ("mean/EMA", "variance/EMA", "gamma", "beta")
    )
    return torch.nn.functional.batch_norm(x, mean, var, scale, bias, eps=1e-5)

  @staticmethod
  def same(x, size, stride, value):
    total = max((-(-x.shape[-1] // stride) - 1) * stride + size - x.shape[-1], 0)
    sides = (total // 2, total - total // 2)
    return torch.nn.functional.pad(x, (*sides, *sides), value=value)


FDS = {
  "R50": ((3, 4, 6, 3), {}),
  "Denoise": ((1, 2), {"non_local": "stages"}),
  "X101-DenoiseAll": (
    (1, 2),
    {"non_local": "blocks", "bottleneck": 4, "cardinality": 32},
  ),
}


def fds(stages, **attributes):
  """Random arrays of FD's graph, with the extras of a training checkpoint."""
  plain = architecture.Architecture(stages, "bottleneck", 64, 1, 1, "none", 7, 3, 1000)
  random = np.random.default_rng(0)
  weights, extras = {}, {"global_step": np.int64(3), "learning_rate": np.float32(0.1)}
  for path, shape in architecture.arrays(plain._replace(**attributes)):
    name = layouts.name(layouts.FD, path)
    if path[-1] == "kernel":
      scale = np.prod(shape[:-1]) ** -0.5
      weights[name] = random.standard_normal(shape, np.float32) * np.float32(scale)
      extras[f"{name}/Momentum"] = np.float32(0)
    else:
      low = -0.3 if path[-1] in ("bias", "mean") else 0.5
      weights[name] = random.uniform(low, low + 0.6, shape).astype(np.float32)
    if name.endswith("non_local/conv/bn/gamma"):
      weights[name] *= 1e-3  # of a product of three activations, which would explode
  extras["EMA/QueueInput/queue_size"] = np.float32(1)
  return weights, extras


@pytest.mark.parametrize("name", FDS)
def test_fd(name, tmp_path):
  stages, attributes = FDS[name]
  weights, extras = fds(stages, **attributes)
  np.savez(tmp_path / "a.npz", **{f"{k}:0": v for k, v in (weights | extras).items()})
  found = recognise.recognise(files.read(tmp_path / "a.npz"))
  assert found.unused.keys() == {f"{name}:0" for name in extras}
  assert_close(ours(found), FD(weights)(PIXELS))
  exported = layouts.to_fd(found.variables)
  assert exported.keys() == weights.keys()
  assert all(exported[k].tobytes() == weights[k].tobytes() for k in weights)
