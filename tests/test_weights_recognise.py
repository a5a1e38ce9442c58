"""Kinds of files, and what is taken to be so where no array shows it."""

import flax
import numpy as np
import pytest

from robustjax.config import defaults
from robustjax.errors import UserError
from robustjax.weights import layouts, recognise
from tests import weights_made as made

TORCH, FD = made.state_dict(), layouts.to_fd(made.variables())
HALF = np.full(3, 0.5, np.float32)


def plain(found):
  return {name: value for name, (value, _) in found.values.items()}


@pytest.mark.parametrize(
  ("arrays", "extras", "kind"),
  [
    (FD, {}, "fd"),
    (TORCH, {}, "torchvision"),
    (made.under("module.", TORCH), {}, "torchvision"),
    (made.under("model.", TORCH), {}, "robustbench"),
    (TORCH | {"mu": HALF, "sigma": HALF}, {}, "robustbench"),
    (TORCH | {"n.new_mean": HALF, "n.new_std": HALF}, {}, "madrylab"),
    (made.under("state_dict.", TORCH), {"args.lr": "0.1"}, "easyrobust"),
  ],
)
def test_a_kind_is_told(arrays, extras, kind):
  assert recognise.recognise(made.file(arrays, **extras)).kind == kind


def test_what_fd_has():
  found = recognise.recognise(made.file(FD))
  values = plain(found)
  assert values["model.padding"] == "SAME"
  assert values["model.input_mean"] == values["model.input_std"] == (127.5,)
  assert [values[f"data.{k}"] for k in ("interpolation", "orientation")] == [
    "opencv",
    "exif",
  ]
  assert values["data.classes"] == 5
  assert any("--channel_order=rgb" in note for note in found.notes)


def test_what_pytorch_has():
  values = plain(recognise.recognise(made.file(TORCH)))
  assert values["model.padding"] == "symmetric"
  assert [values[f"data.{k}"] for k in ("resize", "interpolation", "orientation")] == [
    256,
    "bilinear",
    "stored",
  ]


def test_values_are_a_configurations_with_their_sources():
  for arrays in (FD, TORCH):
    found = recognise.recognise(made.file(arrays))
    assert found.values.keys() <= defaults.DEFAULTS.keys()
    for name, (value, source) in found.values.items():
      assert source
      assert value in defaults.CHOICES.get(name, (value,))


def test_a_published_depth_is_called_by_its_number():
  """The same values as a run's own configuration, so that one can begin from it."""
  net = made.BASIC._replace(stages=(2, 2, 2, 2), width=1)
  values = plain(recognise.recognise(made.file(made.state_dict(net))))
  assert values["model.depth"] == 18
  assert (values["model.stages"], values["model.block"]) == ((), "")
  values = plain(recognise.recognise(made.file(TORCH)))
  assert values["model.depth"] == 0
  assert (values["model.stages"], values["model.block"]) == ((2, 1), "bottleneck")


def test_what_arrays_leave_in_doubt_is_noted():
  lost = made.BOTTLENECK._replace(stages=(3, 4, 6, 2), width=1)
  whole = lost._replace(stages=(3, 4, 6, 3))
  small = made.BASIC._replace(stem=3, channels=1)
  for net, said in ((lost, "(3, 4, 6, 2) bottleneck"), (small, "stride 1")):
    notes = recognise.recognise(made.file(made.state_dict(net))).notes
    assert any(said in note for note in notes)
  notes = recognise.recognise(made.file(made.state_dict(whole))).notes
  assert not any("published" in note or "stride" in note for note in notes)


@pytest.mark.parametrize("arrays", [FD, TORCH])
def test_the_channel_order_is_as_one_says(arrays):
  rgb, bgr = (
    recognise.recognise(made.file(arrays), channel_order=order).variables
    for order in ("rgb", "bgr")
  )
  kernel = rgb["params"]["conv0"]["kernel"]
  np.testing.assert_array_equal(kernel[:, :, ::-1], bgr["params"]["conv0"]["kernel"])
  others = (flax.traverse_util.flatten_dict(dict(tree)) for tree in (rgb, bgr))
  a, b = ({k: v for k, v in tree.items() if "conv0" not in k} for tree in others)
  assert all(np.array_equal(a[path], b[path]) for path in a)


def test_gelu_is_for_ares_and_its_two_networks():
  for stages, bottleneck, activation in (
    ((3, 8, 36, 3), 1, "gelu"),
    ((3, 4, 6, 3), 2, "gelu"),
    ((3, 4, 6, 3), 1, "relu"),
  ):
    net = made.BOTTLENECK._replace(stages=stages, bottleneck=bottleneck, width=1)
    file = made.file(made.state_dict(net))
    assert plain(recognise.recognise(file))["model.activation"] == "relu"
    doubts = any("ReLU" in note for note in recognise.recognise(file).notes)
    assert doubts == (activation == "gelu")
    found = recognise.recognise(file, kind="ares")
    assert found.kind == "ares"
    assert plain(found)["model.activation"] == activation


@pytest.mark.parametrize(
  ("arrays", "wanted", "said"),
  [
    ({}, {}, "it holds no array"),
    ({"cls_token": HALF, "blocks.0.attn.qkv.weight": HALF}, {}, "'cls_token'"),
    ({"features.0.weight": HALF, "layer1.weight": HALF}, {}, "'features.0.weight'"),
    (FD, {"kind": "torchvision"}, "names are FD's"),
    (FD, {"part": "model"}, "names are FD's"),
    (TORCH, {"kind": "fd"}, "names are torchvision's"),
    (made.state_dict(made.BASIC._replace(stem=5)), {}, "convolution of side 5"),
  ],
)
def test_what_is_no_network_of_these_is_one_line(arrays, wanted, said):
  with pytest.raises(UserError, match=f"^made.pt: .*{said}"):
    recognise.recognise(made.file(arrays), **wanted)
