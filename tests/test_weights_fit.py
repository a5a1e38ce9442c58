"""A network that is not what it seems is one line, which names the first array."""

import numpy as np
import pytest

from robustjax.errors import UserError
from robustjax.weights import fit, layouts, recognise
from robustjax.weights.layouts import FD, TORCH
from tests import weights_made as made

NETS = [made.BASIC, made.BOTTLENECK, made.WIDE, made.GROUPED]


@pytest.mark.parametrize("net", [*NETS, made.STAGES, made.BLOCKS], ids=str)
def test_a_network_is_told_from_fds_names_and_shapes(net):
  assert fit.told(FD, layouts.to_fd(made.variables(net)), "") == net


@pytest.mark.parametrize(
  "net", [*NETS, made.BASIC._replace(stem=3, channels=1, stages=(1, 3, 2))], ids=str
)
def test_a_network_is_told_from_pytorchs_names_and_shapes(net):
  assert fit.told(TORCH, made.state_dict(net), "") == net


DEEP = made.BOTTLENECK._replace(stages=(3, 2))


def lacking(name):
  return lambda arrays: arrays.pop(name)


def shaped(name, *shape):
  return lambda arrays: arrays.update({name: np.ones(shape, np.float32)})


def swapped(one, other):
  def swap(arrays):
    arrays[one], arrays[other] = arrays[other], arrays[one]

  return swap


def with_value(name, value, dtype=np.float32):
  def change(arrays):
    arrays[name] = arrays[name].astype(dtype)
    arrays[name].reshape(-1)[-1] = value

  return change


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (lacking("conv1.weight"), "no array m.conv1.weight that is a convolution"),
    (lacking("fc.weight"), "no array m.fc.weight that is a matrix"),
    (lacking("fc.bias"), r"no array m.fc.bias \[5\], which a"),
    (lacking("bn1.running_var"), r"no array m.bn1.running_var \[4\]"),
    (
      lacking("layer2.0.downsample.0.weight"),
      r"no array m.layer2.0.downsample.0.weight \[32, 16, 1, 1\]",
    ),
    (shaped("fc.bias", 6), r"m.fc.bias has the shape \[6\], where a .* has \[5\]"),
    (shaped("fc.weight", 5, 64), r"m.fc.weight has the shape \[5, 64\]"),
    (shaped("conv1.weight", 4, 27), "no array m.conv1.weight that is a convolution"),
    (shaped("conv1.weight", 5, 3, 7, 7), r"m.bn1.weight has the shape \[4\], where a"),
    (shaped("conv1.weight", 0, 3, 7, 7), "no array m.conv1.weight that is a"),
    (shaped("layer1.1.conv2.weight", 4, 4, 1, 1), r"conv2.weight has the shape \[4, 4"),
    (shaped("layer2.1.bn2.weight", 1, 8), r"m.layer2.1.bn2.weight has the shape"),
    (shaped("layer1.4.conv1.weight", 4, 16, 1, 1), "no array m.layer1.3.conv1.weight"),
    (shaped("layer4.0.conv1.weight", 4, 16, 1, 1), "no array m.layer3.0.conv1.weight"),
    (
      swapped("layer1.0.conv1.weight", "layer1.0.conv3.weight"),
      r"m.layer1.0.conv1.weight has the shape \[16, 4, 1, 1\], .* has \[4, 4, 1, 1\]",
    ),
    (swapped("layer1.1.bn1.bias", "layer1.1.bn3.bias"), "m.layer1.1.bn1.bias has"),
    (with_value("fc.bias", np.nan), "m.fc.bias has values that are not finite"),
    (with_value("fc.weight", np.inf), "m.fc.weight has values that are not finite"),
    (with_value("fc.bias", 1e300, np.float64), "m.fc.bias .* not finite in float32"),
    (with_value("bn1.running_var", -1e-3), "m.bn1.running_var has negative values"),
    (with_value("fc.bias", 1, np.int64), "m.fc.bias is of int64"),
  ],
)
def test_what_does_not_fit_is_named(change, said):
  arrays = made.state_dict(DEEP)
  change(arrays)
  with pytest.raises(UserError, match=f"^made.pt: .*{said}") as error:
    recognise.recognise(made.file(made.under("m.", arrays)))
  assert "\n" not in str(error.value)


def test_the_block_that_is_not_as_the_others_is_the_one_named():
  for block in ("layer1.0", "layer1.1", "layer1.2", "layer2.0", "layer2.1"):
    arrays = made.state_dict(DEEP)
    swapped(f"{block}.conv1.weight", f"{block}.conv3.weight")(arrays)
    with pytest.raises(UserError, match=f"{block}.conv1.weight has the shape"):
      recognise.recognise(made.file(arrays))


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.float32])
def test_weights_become_float32(dtype):
  arrays = {name: array.astype(dtype) for name, array in made.state_dict().items()}
  found = recognise.recognise(made.file(arrays))
  kernel = found.variables["params"]["fc"]["kernel"]
  assert kernel.dtype == np.float32
  np.testing.assert_array_equal(kernel, arrays["fc.weight"].T.astype(np.float32))


def test_what_a_mutilated_file_does_is_one_line():
  """Whatever single array is lost, misshapen or renamed, a line says so."""
  whole = made.under("m.", made.state_dict(made.GROUPED))
  weights = [name for name in whole if not name.endswith("tracked")]
  for name in weights:
    rest = {k: v for k, v in whole.items() if k != name}
    array = whole[name]
    for arrays in (
      rest,
      rest | {name: np.stack([array, array])},
      rest | {name: array.reshape(-1)[:-1]},
      rest | {f"{name}x": array},
      rest | {f"x{name}": array},
    ):
      with pytest.raises(UserError) as error:
        recognise.recognise(made.file(arrays))
      assert name in str(error.value) or "2 networks" in str(error.value)
      assert "\n" not in str(error.value)
