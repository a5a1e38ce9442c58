"""An export holds one branch, says what network it is, and comes back as it was."""

import json

import flax.traverse_util
import numpy as np
import pytest
import weights_made as made

from robustjax import config as configs
from robustjax.errors import UserError
from robustjax.models import norm as norms
from robustjax.weights import exported, files, imported, recognise, safetensors

NET = made.BOTTLENECK._replace(stages=(1, 1, 2, 1))


def config(**values):
  c = configs.base("mine")
  for name, value in {
    "model.depth": 0,
    "model.stages": NET.stages,
    "model.width": NET.width,
    "data.classes": NET.classes,
    "data.class_digest": "",
    **{n.replace("__", "."): value for n, value in values.items()},
  }.items():
    configs.change(c, name, value, "this test")
  return c


def write(c, form, out, net=NET):
  named = exported.arrays(c, made.variables(net), None, form)
  exported.write(c, named, form, out)
  return out


@pytest.mark.parametrize(("form", "ending"), [("fd", "npz"), ("safetensors", "st")])
def test_an_export_comes_back_as_it_was(form, ending, tmp_path):
  c, out = config(data__resize=300, data__image_size=250), tmp_path / f"a.{ending}"
  found = imported.read(write(c, form, out))
  made.assert_same(recognise.recognise(files.read(out)).variables, made.variables(NET))
  ours, theirs = (configs.flatten(one) for one in (c, found.config))
  same = {name for name, value in ours.items() if theirs[name] == value}
  network = {name for name in ours if name.startswith("model.")}
  assert network - same <= {
    "model.dtype",
    "model.block",
  }  # which list a block goes with
  assert ("data.resize" in same) == (form != "fd")  # whose form has no room for it
  again = tmp_path / f"again.{ending}"
  named = exported.arrays(found.config, found.variables, None, form)
  exported.write(found.config, named, form, again)
  assert again.read_bytes() == out.read_bytes()


def test_pytorchs_form_says_what_network_it_is(tmp_path):
  """Through the writer alone: torchvision's class has no network that is so small."""
  c = config(model__padding="symmetric", model__input_std=(50.0, 51.0, 52.0))
  named = exported.arrays(c, made.variables(NET), None, "safetensors")
  for name in ("one.pth", "two.pth"):
    exported.write(c, named, "torchvision", tmp_path / name)
  found = imported.read(tmp_path / "one.pth")
  assert found.config.model.input_std == (50.0, 51.0, 52.0)
  assert found.config.model.stages == NET.stages and not found.found.notes
  assert (tmp_path / "one.pth").read_bytes() == (tmp_path / "two.pth").read_bytes()


def test_all_branches_come_back_as_they_were(tmp_path):
  both = {kind: norms.in_both(tree) for kind, tree in made.variables(NET).items()}
  other = made.variables(NET, 1)
  for kind in both:
    both[kind]["bn0"]["clean"] = other[kind]["bn0"]["all"]
  c, out = config(model__norm="mbn", loss__clean_ratio=1.0), tmp_path / "a.safetensors"
  exported.write(c, exported.arrays(c, both, None, "robustjax"), "robustjax", out)
  found = imported.read(out)
  assert (found.config.model.norm, found.found.kind) == ("mbn", "robustjax")
  again = exported.arrays(found.config, found.variables, None, "robustjax")
  made.assert_same(tree_of(again), both)
  assert imported.write(found, tmp_path / "run")
  with pytest.raises(UserError, match="of all branches: leave --branch out"):
    exported.arrays(c, both, "adv", "robustjax")
  with pytest.raises(UserError, match="exported here and needs no --kind"):
    imported.read(out, imported.Said({"kind": "fd"}))


def tree_of(named):
  return flax.traverse_util.unflatten_dict(named, sep="/")


@pytest.mark.parametrize(
  ("arrays", "message"),
  [
    ({"params/a": 1.0}, "says 0 of the 24 things"),
    ({"params/a": 1.0, "params/a/b": 1.0}, "one array's name begins another's"),
    ({"params/a": np.nan}, "not finite"),
  ],
)
def test_arrays_of_our_names_are_not_believed_blindly(arrays, message, tmp_path):
  path = tmp_path / "bad.safetensors"
  named = {name: np.full(2, value, np.float32) for name, value in arrays.items()}
  safetensors.write(path, named, {})
  with pytest.raises(UserError, match=message):
    imported.read(path)


def test_a_branch_of_mbn(tmp_path):
  one, other = made.variables(NET), made.variables(NET, 1)
  both = norms.in_both(one)
  both["params"]["bn0"]["clean"] = other["params"]["bn0"]["all"]
  c = config(model__norm="mbn", loss__clean_ratio=1.0)
  adv, clean = (exported.arrays(c, both, b, "fd") for b in (None, "clean"))
  differ = {name for name in adv if not np.array_equal(adv[name], clean[name])}
  assert differ == {"conv0/bn/gamma", "conv0/bn/beta"}
  with pytest.raises(UserError, match="no branch 'all': name clean or adv with"):
    exported.arrays(c, both, "all", "fd")


def test_a_small_network_comes_back_with_its_scale_and_stem(tmp_path):
  net = made.BASIC._replace(stem=3, channels=1, classes=10)
  c = configs.base("mine", "mini")
  for name, value in (("model.stages", net.stages), ("model.width", net.width)):
    configs.change(c, name, value, "this test")
  out = write(c, "safetensors", tmp_path / "a.safetensors", net)
  again = imported.read(out).config
  assert (again.scale, again.model.stem) == ("mini", "small_stride2")
  assert (again.data.image_size, again.eval.eps) == (28, 32)


@pytest.mark.parametrize(
  ("form", "values", "message"),
  [
    (
      "fd",
      {"model__norm": "gn", "model__gn_groups": 2},
      "no room for group norm: take",
    ),
    ("fd", {"model__padding": "symmetric"}, "fd has no room for config.model.padding"),
    ("fd", {"model__input_std": (9.0,)}, "fd has no room for config.model.input_mean"),
    ("torchvision", {}, "no room for config.model.width=4, only 64: take --to=safet"),
    ("torchvision", {"model__stem": "small"}, "has no room for config.model.stem"),
  ],
)
def test_what_a_form_has_no_room_for_is_named(form, values, message):
  with pytest.raises(UserError, match=message):
    exported.arrays(config(**values), made.variables(NET), None, form)


def test_nothing_is_overwritten(tmp_path):
  (tmp_path / "a.npz").write_text("mine")
  with pytest.raises(UserError, match="is there already: name another file with --out"):
    write(config(), "fd", tmp_path / "a.npz")
  assert (tmp_path / "a.npz").read_text() == "mine"


@pytest.mark.parametrize(
  ("name", "value"),
  [("model.width", "{"), ("init.run", '"/"'), ("model.width", "[" * 999)],
)
def test_what_a_file_says_of_itself_is_not_believed_blindly(name, value, tmp_path):
  path = tmp_path / "bad.safetensors"
  said = {f"robustjax.{name}": value}
  safetensors.write(path, made.state_dict(NET), said)
  with pytest.raises(UserError, match="does not understand: export it again"):
    exported.values_of(files.read(path))
  whole = exported.described(config(), "safetensors")
  for said, message in (
    ({"robustjax.model.width": json.dumps(8)}, "says 1 of the 20 things"),
    (whole | {"robustjax.scale": json.dumps("huge")}, "of no scale that there is"),
    (whole | {"robustjax.model.width": json.dumps(8)}, "leave out what is wrong"),
    (
      whole | {"robustjax.model.depth": "77", "robustjax.model.stages": "[]"},
      "bad.safetensors: no ResNet-77",
    ),
  ):
    safetensors.write(path, made.state_dict(NET), said)
    with pytest.raises(UserError, match=message):
      imported.read(path)
