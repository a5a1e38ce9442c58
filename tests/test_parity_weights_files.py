"""Files that torch.save and safetensors write are read as those libraries read them."""

import argparse
import collections
import io
import pickle

import numpy as np
import pytest

from robustjax.errors import UserError
from robustjax.weights import files, torchfiles

pytestmark = pytest.mark.parity

WHY = "`make parity` installs what the parity tests compare with"
torch = pytest.importorskip("torch", reason=WHY)

FORMS = {"torch": True, "torch, legacy": False}
DTYPES = [
  *("float32", "float64", "float16", "bfloat16", "complex64"),
  *("int64", "int32", "int16", "int8", "uint8", "uint16", "bool"),
]


def numpy(tensor):
  tensor = tensor.detach()
  return tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def save(path, value, form="torch", **options):
  torch.save(value, path, _use_new_zipfile_serialization=FORMS[form], **options)
  return path


def check(found, tensors):
  """The arrays are these tensors, and no others."""
  assert found.keys() == tensors.keys()
  for name, tensor in tensors.items():
    assert str(found[name].dtype) == str(tensor.dtype).removeprefix("torch.")
    np.testing.assert_array_equal(
      found[name].astype(numpy(tensor).dtype), numpy(tensor)
    )


def trained():
  """A network and its optimizer after a step."""
  torch.manual_seed(0)
  net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
  net = torch.nn.DataParallel(net)
  optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
  net(torch.randn(2, 3, 8, 8)).square().sum().backward()
  optimizer.step()
  return net, optimizer


@pytest.mark.parametrize("form", FORMS)
def test_tensors_of_every_kind(tmp_path, form):
  base = torch.randn(6, 8)
  tensors = {dtype: (base * 9).to(getattr(torch, dtype)) for dtype in DTYPES}
  tensors |= {
    "transposed": base.t(),
    "part": base[1:5:2, 3:],
    "diagonal": base.diagonal(1),
    "expanded": torch.ones(3, 1).expand(3, 5),
    "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "parameter": torch.nn.Parameter(base[2]),
    "scalar": torch.tensor(3.5),
    "empty": torch.zeros(0, 4),
  }
  found = files.read(save(tmp_path / "w", tensors, form))
  assert found.form == form
  check(found.arrays, tensors)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_of_a_training(tmp_path, form, protocol):
  net, optimizer = trained()
  value = {
    "epoch": 90,
    "arch": "resnet50",
    "best": np.float64(64.02),
    "state_dict": net.state_dict(),
    "optimizer": optimizer.state_dict(),
    "args": argparse.Namespace(lr=0.1, mean=[0.485], device=torch.device("cpu")),
    "history": collections.defaultdict(list, loss=list(range(1000))),
    "rng": np.arange(3),
  }
  path = save(tmp_path / "w", value, form, pickle_protocol=protocol)
  found = files.read(path)
  tensors = {f"state_dict.{name}": t for name, t in net.state_dict().items()}
  for index, state in optimizer.state_dict()["state"].items():
    name = f"optimizer.state.{index}.momentum_buffer"
    tensors[name] = state["momentum_buffer"]
  check(found.arrays, tensors | {"rng": torch.arange(3)})
  expected = {
    "epoch": "90",
    "arch": "'resnet50'",
    "best": "64.02",
    "args.mean": "[0.485]",
    "args.device": "<torch.device('cpu',)>",
    "optimizer.param_groups.0.momentum": "0.9",
    "optimizer.param_groups.0.params": "[0, 1, 2, 3]",
    "history.loss": "[0, 1, 2, 3, 4, 5, 6, 7, ... 1000 in all]",
  }
  assert expected.items() <= found.extras.items()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source:UserWarning")
def test_a_whole_module_has_its_state_dict(tmp_path, form):
  net, _ = trained()
  found = files.read(save(tmp_path / "w", {"model": net}, form))
  check(found.arrays, {f"model.{name}": t for name, t in net.state_dict().items()})


class Own(torch.Tensor):
  """A tensor of a type of one's own."""


def test_a_tensor_of_another_type(tmp_path):
  tensor = torch.randn(3).as_subclass(Own)
  found = files.read(save(tmp_path / "w", {"w": tensor}))
  np.testing.assert_array_equal(found.arrays["w"], np.asarray(tensor))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
  "make",
  [
    lambda: torch.quantize_per_tensor(torch.randn(4), 0.1, 0, torch.qint8),
    lambda: torch.eye(3).to_sparse(),
    lambda: torch.zeros(2, device="meta"),
  ],
  ids=["quantised", "sparse", "meta"],
)
def test_what_is_no_dense_tensor(tmp_path, form, make):
  with pytest.raises(UserError, match="dequantize") as caught:
    files.read(save(tmp_path / "w", {"w": make()}, form))
  assert "\n" not in str(caught.value)


class Dill(pickle._Pickler):
  """Pickles a class that it defines as dill does: by calls of its functions."""

  dispatch = dict(pickle._Pickler.dispatch)

  def save_type(self, cls):
    self.write(b"cdill._dill\n_load_type\n")
    self.save("ObjectType")
    self.write(b"\x85R")

  dispatch[type] = save_type


class Parameters:
  """As robustness' arguments."""

  def __init__(self, **params):
    self.params = params


def test_a_checkpoint_that_dill_pickled(tmp_path):
  net, _ = trained()

  class Module:
    Pickler, dump, dumps = Dill, None, None
    load, Unpickler, __name__ = None, None, "dill"

  value = {"args": Parameters(lr=0.1, eps=4 / 255), "model": net.state_dict()}
  path = save(tmp_path / "w", value, pickle_module=Module)
  found = files.read(path)
  check(found.arrays, {f"model.{name}": t for name, t in net.state_dict().items()})
  assert found.extras["args.params.lr"] == "0.1"


def test_what_is_written_here_torch_loads(tmp_path):
  net, _ = trained()
  state = net.module.state_dict()
  arrays = {name: np.asarray(tensor) for name, tensor in state.items()}
  path = tmp_path / "w.pth"
  torchfiles.write(path, arrays)
  for options in ({}, {"mmap": True}):
    loaded = torch.load(path, weights_only=True, **options)
    assert type(loaded) is collections.OrderedDict
    assert list(loaded) == list(state)
    net.module.load_state_dict(loaded, strict=True)
    check(files.read(path).arrays, loaded)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_torchscript_has_the_names_of_its_state_dict(tmp_path):
  net, _ = trained()
  net = net.module.eval()
  scripted = io.BytesIO()
  with pytest.warns(DeprecationWarning):
    torch.jit.save(torch.jit.trace(net, torch.zeros(1, 3, 8, 8)), scripted)
  path = tmp_path / "w"
  path.write_bytes(scripted.getvalue())
  check(files.read(path).arrays, net.state_dict())


def test_safetensors(tmp_path):
  library = pytest.importorskip("safetensors.torch", reason=WHY)
  base = torch.randn(6, 8)
  kinds = [dtype for dtype in DTYPES if dtype != "complex64"]
  tensors = {dtype: (base * 9).to(getattr(torch, dtype)) for dtype in kinds}
  tensors |= {"scalar": torch.tensor(1.5), "empty": torch.zeros(0, 4)}
  path = tmp_path / "w"
  library.save_file(tensors, path, metadata={"format": "pt"})
  found = files.read(path)
  check(found.arrays, tensors)
  assert found.extras == {"__metadata__.format": "'pt'"}
