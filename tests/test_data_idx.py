"""Fashion-MNIST's own files: read whole, or refused in one line."""

import gzip
import pickle

import numpy as np
import pytest
from data_files import write_fake, write_idx

from robustjax.data import classes, idx, pipeline, sources, transforms
from robustjax.errors import UserError


@pytest.fixture
def fake(tmp_path):
  """A folder with 30 images in each split."""
  return write_fake(tmp_path / "fashion", 30, np.random.default_rng(0))


def test_a_folder_is_opened_by_its_path(fake):
  for split in ("train", "test"):
    source = sources.open_source(str(fake), split=split)
    assert (len(source), source.num_classes) == (30, 10)
    assert source.image_shape == (28, 28, 1)
    assert source.class_names == idx.CLASS_NAMES
    for i in range(30):
      label, place = source[i]["image"][0, :2, 0]
      assert (source[i]["label"], i) == (label, place)


def test_its_pixels_go_through_the_pipeline(fake):
  source = pickle.loads(pickle.dumps(sources.open_source(str(fake), split="test")))
  plain = transforms.by_name("none", False, 28)
  (batch,) = pipeline.evaluation_batches(
    source, plain, indices=range(3, 12), batch_size=9
  )
  assert batch["image"].shape == (9, 28, 28, 1)
  assert batch["image"][:, 0, 1, 0].tolist() == list(range(3, 12))
  assert (batch["image"][:, 0, 0, 0] == batch["label"]).all()


def test_an_image_is_named_by_its_file(fake):
  source = sources.open_source(str(fake), split="test")
  assert source.location(7) == f"{fake}/t10k-images-idx3-ubyte.gz, image 7"


def test_another_split_is_one_line(fake):
  with pytest.raises(UserError, match="has no split 'validation': use one of train, t"):
    sources.open_source(str(fake), split="validation")


def test_files_that_do_not_belong_together_are_one_line(fake):
  write_idx(fake / "train-labels-idx1-ubyte.gz", np.zeros(29, np.uint8))
  with pytest.raises(UserError, match="train-images.*fetch the four files again"):
    sources.open_source(str(fake), split="train")


def test_a_missing_file_is_one_line(fake):
  (fake / "t10k-labels-idx1-ubyte.gz").unlink()
  with pytest.raises(UserError, match="t10k-labels-idx1-ubyte.gz does not exist"):
    sources.open_source(str(fake), split="test")


@pytest.mark.skipif(not idx.DEBIAN.is_dir(), reason="dataset-fashion-mnist is missing")
def test_debians_files():
  train, test = (
    sources.open_source(str(idx.DEBIAN), split=split) for split in ("train", "test")
  )
  assert (len(train), len(test)) == (60000, 10000)
  shipped = sources.open_source("fashion_mnist_mini", split="train")
  classes.check_same(train, shipped)


@pytest.mark.parametrize(
  "damage", ["missing", "not gzip", "cut", "wrong type", "empty", "flipped"]
)
def test_broken_input_is_one_clear_line(tmp_path, damage):
  path = tmp_path / "x.gz"
  whole = bytes([0, 0, 8, 1]) + np.array([9], ">u4").tobytes() + bytes(9)
  if damage != "missing":
    path.write_bytes(
      {
        "not gzip": whole,
        "cut": gzip.compress(whole[:-1]),
        "wrong type": gzip.compress(b"\0\0\x0d" + whole[3:]),
        "empty": gzip.compress(b""),
        "flipped": gzip.compress(whole)[:10] + b"\xff" + gzip.compress(whole)[11:],
      }[damage]
    )
  with pytest.raises(UserError, match=r"x\.gz") as caught:
    idx.read_idx(path)
  assert "\n" not in str(caught.value)
