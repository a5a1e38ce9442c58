"""Names and axes of other libraries; that they are theirs is parity's to show."""

import numpy as np
import pytest

from robustjax.errors import UserError
from robustjax.weights import layouts, recognise
from tests import weights_made as made

NAMES = {
  ("params", "conv0", "kernel"): ("conv1.weight", "conv0/W"),
  ("params", "bn0", "all", "scale"): ("bn1.weight", "conv0/bn/gamma"),
  ("batch_stats", "bn0", "all", "var"): ("bn1.running_var", "conv0/bn/variance/EMA"),
  ("params", "stage1_block1", "conv3", "kernel"): (
    "layer1.0.conv3.weight",
    "group0/block0/conv3/W",
  ),
  ("params", "stage4_block36", "bn2", "all", "bias"): (
    "layer4.35.bn2.bias",
    "group3/block35/conv2/bn/beta",
  ),
  ("params", "stage2_block1", "shortcut_conv", "kernel"): (
    "layer2.0.downsample.0.weight",
    "group1/block0/convshortcut/W",
  ),
  ("batch_stats", "stage2_block1", "shortcut_bn", "all", "mean"): (
    "layer2.0.downsample.1.running_mean",
    "group1/block0/convshortcut/bn/mean/EMA",
  ),
  ("params", "fc", "kernel"): ("fc.weight", "linear/W"),
  ("params", "fc", "bias"): ("fc.bias", "linear/b"),
  ("params", "stage4_non_local", "theta", "kernel"): (
    None,
    "group3_denoise/embedding_theta/W",
  ),
  ("params", "stage4_non_local", "bn", "all", "scale"): (
    None,
    "group3_denoise/conv/bn/gamma",
  ),
  ("params", "stage1_block1", "non_local", "conv", "kernel"): (
    None,
    "group0/block0/non_local/conv/W",
  ),
  ("batch_stats", "stage1_block1", "non_local", "bn", "all", "var"): (
    None,
    "group0/block0/non_local/conv/bn/variance/EMA",
  ),
}


@pytest.mark.parametrize("path", NAMES, ids="-".join)
def test_a_path_has_a_name_in_each_layout(path):
  torch, fd = NAMES[path]
  assert layouts.name(layouts.FD, path) == fd
  if torch is None:
    with pytest.raises(UserError, match="non-local"):
      layouts.name(layouts.TORCH, path)
  else:
    assert layouts.name(layouts.TORCH, path) == torch


@pytest.mark.parametrize(
  "net", [made.BASIC, made.BOTTLENECK, made.WIDE, made.GROUPED], ids=str
)
def test_what_is_exported_for_pytorch_is_imported_as_it_was(net):
  variables = made.variables(net)
  exported = layouts.to_torch(variables)
  assert all(array.flags.c_contiguous for array in exported.values())
  found = recognise.recognise(made.file(exported))
  made.assert_same(found.variables, variables)
  assert not found.unused


@pytest.mark.parametrize("net", [made.BASIC, made.GROUPED, made.STAGES, made.BLOCKS])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_what_is_exported_in_fds_form_is_imported_as_it_was(net, order):
  variables = made.variables(net)
  exported = layouts.to_fd(variables, order)
  found = recognise.recognise(made.file(exported), channel_order=order)
  made.assert_same(found.variables, variables)
  assert not found.unused


def test_axes_are_pytorchs():
  variables = made.variables(made.GROUPED)
  exported = layouts.to_torch(variables)
  kernel = variables["params"]["stage1_block1"]["conv2"]["kernel"]
  assert kernel.shape == (3, 3, 2, 8)
  assert exported["layer1.0.conv2.weight"].shape == (8, 2, 3, 3)
  assert exported["layer1.0.conv2.weight"][5, 1, 0, 2] == kernel[0, 2, 1, 5]
  assert exported["fc.weight"][2, 7] == variables["params"]["fc"]["kernel"][7, 2]


def test_only_the_first_convolution_of_fd_sees_blue_first():
  variables = made.variables()
  bgr, rgb = layouts.to_fd(variables), layouts.to_fd(variables, "rgb")
  np.testing.assert_array_equal(bgr["conv0/W"], rgb["conv0/W"][:, :, ::-1])
  assert all(np.array_equal(bgr[k], rgb[k]) for k in rgb if k != "conv0/W")
