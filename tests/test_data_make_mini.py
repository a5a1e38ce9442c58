"""The shipped image set: what is in it, and that it can be made again."""

import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from data_files import write_fake
from tensorflow_datasets.proto import tf_feature_pb2

from robustjax.data import array_record, decode, idx, make_mini, sources
from robustjax.errors import UserError

DEBIAN = idx.DEBIAN
MINI = pathlib.Path(make_mini.__file__).parent / "mini"
# Makes the package importable for programs that run elsewhere, installed or not.
ENV = os.environ | {"PYTHONPATH": str(MINI.parents[2])}
QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
needs_debian = pytest.mark.skipif(
  not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed"
)


def files_under(folder):
  paths = sorted(p for p in folder.rglob("*") if p.is_file())
  return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


def pixels(source, index):
  return decode.decode(source[index]["image"], 1)


def test_fake_set_is_balanced_and_keeps_pixels(tmp_path):
  fake = write_fake(tmp_path / "idx", 60, np.random.default_rng(0))
  folder = make_mini.make(fake, tmp_path / "out", {"train": 3, "test": 2})
  originals = idx.read_idx(fake / "train-images-idx3-ubyte.gz")
  assert folder == tmp_path / "out" / "fashion_mnist_mini" / "1.0.0"
  builder_source = array_record.tfds.builder_from_directory(str(folder)).as_data_source(
    split="train", decoders={"image": array_record.tfds.decode.SkipDecoding()}
  )
  assert len(builder_source) == 30
  for i in range(30):
    image = decode.decode(builder_source[i]["image"], 1)
    assert builder_source[i]["label"] == image[0, 0, 0] == i % 10
    np.testing.assert_array_equal(image[..., 0], originals[image[0, 1, 0]])


def test_two_runs_give_the_same_bytes(tmp_path):
  fake = write_fake(tmp_path / "idx", 60, np.random.default_rng(0))
  # Hashes, and what is ordered by them, differ between processes only, and not
  # between every two.
  for out in ("a", "b", "c"):
    program = (
      "import pathlib; from robustjax.data import make_mini;"
      f"make_mini.make(pathlib.Path({str(fake)!r}), pathlib.Path({out!r}),"
      " {'train': 6, 'test': 2})"
    )
    subprocess.run(
      [sys.executable, "-c", program], check=True, cwd=tmp_path, env=ENV, **QUIET
    )
  first = files_under(tmp_path / "a")
  assert len(first) >= 5
  assert first == files_under(tmp_path / "b") == files_under(tmp_path / "c")


def test_records_do_not_depend_on_the_order_of_a_hash(tmp_path):
  image = tf_feature_pb2.Features(feature={"image": tf_feature_pb2.Feature()})
  label = tf_feature_pb2.Features(feature={"label": tf_feature_pb2.Feature()})
  parts = [image.SerializeToString(), label.SerializeToString()]
  shards: list[pathlib.Path] = []
  for order in (parts, parts[::-1]):
    features = b"".join(order)
    shards.append(tmp_path / str(len(shards)))
    writer = make_mini.array_record_module.ArrayRecordWriter(
      str(shards[-1]), "group_size:1"
    )
    # Field 1 of an Example, its length, its bytes.
    writer.write(b"\n" + bytes([len(features)]) + features)
    writer.close()
  before = [shard.read_bytes() for shard in shards]
  assert before[0] != before[1]
  for shard in shards:
    make_mini._normalise(shard)
    assert shard.read_bytes() == before[0]


def test_making_again_replaces(tmp_path):
  fake = write_fake(tmp_path / "idx", 60, np.random.default_rng(0))
  for count in (6, 2):
    make_mini.make(fake, tmp_path / "a", {"train": count, "test": 2})
  make_mini.make(fake, tmp_path / "b", {"train": 2, "test": 2})
  assert files_under(tmp_path / "a") == files_under(tmp_path / "b")


def test_metadata_names_no_path_of_this_machine(tmp_path):
  fake = write_fake(tmp_path / "idx", 60, np.random.default_rng(0))
  make_mini.make(fake, tmp_path / "out", {"train": 1, "test": 1})
  for name, content in files_under(tmp_path / "out").items():
    assert str(tmp_path).encode() not in content, name


def test_balanced_takes_the_first_of_each_class():
  labels = np.array([1, 0, *range(10), *range(10)], np.uint8)
  chosen = make_mini.balanced(labels, 2)
  assert chosen.tolist() == [1, 0, *range(4, 12), 2, 3, *range(14, 22)]


def test_too_few_images_is_one_clear_line():
  with pytest.raises(UserError, match="'Ankle boot' has 1 images where 2") as caught:
    make_mini.balanced(np.array([*range(10), *range(9)], np.uint8), 2)
  assert "\n" not in str(caught.value)


@needs_debian
def test_shipped_set_can_be_made_again(tmp_path):
  program = [sys.executable, "-m", "robustjax.data.make_mini", f"--source={DEBIAN}"]
  other = subprocess.Popen([*program, f"--out={tmp_path / 'b'}"], env=ENV, **QUIET)
  make_mini.main([f"--source={DEBIAN}", f"--out={tmp_path / 'a'}"])
  assert other.wait(60) == 0
  made = files_under(tmp_path / "a")
  assert made == files_under(tmp_path / "b")
  shipped = files_under(MINI)
  license_text = shipped.pop("LICENSE")
  assert b"Copyright (c) 2017 Zalando SE" in license_text
  assert made.keys() == shipped.keys()
  # Another release of zlib or zstd may compress otherwise; the next test compares
  # what is inside.
  described = [name for name in made if "array_record" not in name]
  assert [made[name] for name in described] == [shipped[name] for name in described]


@needs_debian
@pytest.mark.parametrize(("split", "prefix"), [("train", "train"), ("test", "t10k")])
def test_shipped_pixels_equal_the_originals(split, prefix):
  source = sources.open_source("fashion_mnist_mini", split=split)
  images = idx.read_idx(DEBIAN / f"{prefix}-images-idx3-ubyte.gz")
  labels = idx.read_idx(DEBIAN / f"{prefix}-labels-idx1-ubyte.gz")
  seen = [0] * 10
  of_class = [np.flatnonzero(labels == c) for c in range(10)]
  for i in range(len(source)):
    label = source[i]["label"]
    original = images[of_class[label][seen[label]]]
    seen[label] += 1
    assert np.array_equal(pixels(source, i)[..., 0], original), i


@pytest.mark.parametrize(("split", "n"), [("train", 10_000), ("test", 2_000)])
def test_shipped_set_is_complete_and_every_prefix_balanced(split, n):
  source = sources.open_source("fashion_mnist_mini", split=split)
  assert len(source) == n
  assert source.class_names == idx.CLASS_NAMES
  assert [source[i]["label"] for i in range(n)] == [i % 10 for i in range(n)]
