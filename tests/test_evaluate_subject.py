"""What is evaluated is opened, or refused in a line that says what to do."""

import dataclasses

import jax
import networks
import numpy as np
import pytest
import weights_made
from data_files import image_folder

from robustjax.data import crop
from robustjax.data.decode import decode
from robustjax.errors import UserError
from robustjax.evaluate import subject
from robustjax.evaluate.__main__ import parser
from robustjax.evaluate.subject import Wanted, open_subject
from robustjax.run.data import Shown
from robustjax.runtime import parallel
from robustjax.weights import safetensors

MESH = parallel.mesh(jax.devices()[:1])


@pytest.fixture
def folder(tmp_path):
  return image_folder(tmp_path / "images", {"val": 10}, size=(4, 4))


def test_a_function_with_a_folder_of_images(folder):
  wanted = Wanted(data=str(folder), split="val", transform="none", size=4)
  opened = open_subject("networks:function", wanted, MESH)
  network = opened.branch(None)
  assert (network.branch, opened.shape, opened.step) == ("all", (4, 4, 3), None)
  (batch,) = opened.images.batches(range(6), 6, MESH)
  logits = network.logits(network.variables, batch["image"])
  images = np.asarray(batch["image"], np.float32)
  np.testing.assert_allclose(logits, networks.function()(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  ("what", "message"),
  [
    ("no_such_module:function", "there is no module no_such_module"),
    ("networks:nothing", "the module networks has no nothing"),
    ("networks:not_a_function", r"networks:not_a_function\(\) returns a int"),
    ("networks:breaks", "networks:breaks cannot be computed by JAX on images"),
  ],
)
def test_functions_that_are_none_are_named(folder, what, message):
  wanted = Wanted(data=str(folder), split="val", size=4, transform="none")
  with pytest.raises(UserError, match=message) as caught:
    open_subject(what, wanted, MESH)
  assert "\n" not in str(caught.value)


def test_a_function_brings_no_images():
  with pytest.raises(UserError, match="name a data set, a folder or a .npz file"):
    open_subject("networks:function", Wanted(), MESH)


def test_a_folder_without_a_run_is_named(tmp_path):
  with pytest.raises(UserError, match="is not the folder of a run"):
    open_subject(str(tmp_path), Wanted(), MESH)


def test_a_branch_that_is_not_there_is_named(folder):
  wanted = Wanted(data=str(folder), split="val", transform="none", size=4)
  opened = open_subject("networks:function", wanted, MESH)
  with pytest.raises(UserError, match="has no branch 'adv': name all with --branch"):
    opened.branch("adv")


def test_labels_without_a_logit_are_refused(tmp_path):
  path = tmp_path / "set.npz"
  np.savez(path, images=networks.IMAGES[:7], labels=np.arange(7))
  with pytest.raises(UserError, match="has 7 classes, and networks:function tells 6"):
    open_subject("networks:function", Wanted(data=str(path)), MESH)
  np.savez(path, images=networks.IMAGES[:6], labels=np.arange(6))
  opened = open_subject("networks:function", Wanted(data=str(path)), MESH)
  assert (opened.shape, opened.data["split"]) == ((4, 4, 3), "all")


def test_a_file_of_images_is_known_by_what_it_holds(tmp_path):
  names = []
  for place, count in (("one", 12), ("other", 12), ("third", 13)):
    (tmp_path / place).mkdir()
    path = tmp_path / place / "images.npz"
    np.savez(path, images=networks.IMAGES[:count], labels=networks.LABELS[:count])
    opened = open_subject("networks:function", Wanted(data=str(path)), MESH)
    names.append(opened.data["data"])
  assert names[0] == names[1] != names[2]


def test_a_file_of_weights_is_evaluated_as_if_it_were_imported(tmp_path, capsys):
  path, data = tmp_path / "R9.safetensors", tmp_path / "set.npz"
  safetensors.write(path, weights_made.state_dict(weights_made.BASIC), {})
  images = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3)).astype(np.uint8)
  np.savez(data, images=images, labels=np.arange(3))
  opened = open_subject(str(path), Wanted(data=str(data)), MESH)
  assert "no normaliser in the file" in capsys.readouterr().err
  network = opened.branch(None)
  assert (network.name, network.branch) == ("imported_R9-paper", "all")
  assert (opened.eps, opened.step, str(opened.folder)) == (None, 0, "runs/R9")
  # Images that have the network's size already are not cropped again.
  np.testing.assert_array_equal(opened.images.read(range(3))["image"], images)
  wider = open_subject(str(path), Wanted(data=str(data), size=192), MESH)
  assert wider.images.read(range(1))["image"].shape == (1, 192, 192, 3)


def test_neither_a_run_nor_a_file_nor_a_function():
  with pytest.raises(
    UserError, match="there is no R9.pth: name the folder of a run or"
  ):
    open_subject("R9.pth", Wanted(), MESH)


def test_a_functions_images_are_cropped_as_it_is_said(folder):
  read = subject.wanted(parser().parse_args(["x", f"--data={folder}", "--split=val"]))
  read = dataclasses.replace(read, size=4)
  for flags, name in (
    ({}, "bilinear 5/4 stored"),
    ({"resize": 7, "interpolation": "opencv"}, "opencv 7/4 stored"),
    ({"resize": -1, "orientation": "exif"}, "4 exif"),
  ):
    opened = open_subject("networks:function", dataclasses.replace(read, **flags), MESH)
    assert opened.data["crop"] == name
    (found,) = opened.images.read([0])["image"]
    source = opened.images.source
    assert source.oriented == ("exif" in name)
    stored = decode(source[0]["image"], 3)
    expected = crop.centre(
      stored, 4, flags.get("resize", 5), flags.get("interpolation", "bilinear")
    )
    np.testing.assert_array_equal(found, expected)
  with pytest.raises(UserError, match="'none' crops nothing: leave --resize and"):
    open_subject(
      "networks:function", dataclasses.replace(read, transform="none", resize=0), MESH
    )


def test_a_runs_crop_keeps_its_proportion():
  own = Shown("imagenet", 224, 256, "opencv", "exif")
  assert subject._shown(Wanted(data="x"), own) == own
  assert subject._shown(Wanted(size=448), own) == own._replace(size=448, resize=512)
  assert subject._shown(Wanted(size=448), own._replace(resize=-1)).resize == -1
  # Of a run that crops nothing, the length has no meaning.
  whole = own._replace(transform="none", size=28)
  assert subject._shown(Wanted(transform="imagenet"), whole).resize == 32
