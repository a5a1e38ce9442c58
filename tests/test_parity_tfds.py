"""The same archives through TFDS with TensorFlow: the same data set."""

import importlib.util
import io
import os
import subprocess
import sys

import imagenet_tars as tars
import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from PIL import Image
from tensorflow_datasets.core import shuffle
from tensorflow_datasets.proto import tf_example_pb2

from robustjax.data import imagenet2012, prepare

pytestmark = [
  pytest.mark.parity,
  pytest.mark.slow,
  pytest.mark.skipif(
    not importlib.util.find_spec("tensorflow"), reason="TensorFlow is not installed"
  ),
]

# As a process of its own: what TensorFlow loads stays away from the other tests.
PREPARE = """
import sys, tensorflow_datasets as tfds
from tensorflow_datasets.core import shuffle
memory, shard, archives, data_dir = sys.argv[1:]
shuffle.MAX_MEM_BUFFER_SIZE = int(memory)
tfds.core.utils.shard_utils.ShardConfig.min_shard_size = int(shard)
builder = tfds.builder("imagenet2012", data_dir=data_dir, file_format="array_record")
config = tfds.download.DownloadConfig(manual_dir=archives, try_download_gcs=False)
builder.download_and_prepare(download_config=config)
assert "tensorflow" in sys.modules
"""
CONVERT = """
import pathlib, sys, tensorflow_datasets as tfds
for path in pathlib.Path(sys.argv[1]).iterdir():
  png = path.suffix == ".png"
  convert = tfds.core.utils.png_to_jpeg if png else tfds.core.utils.jpeg_cmyk_to_rgb
  (pathlib.Path(sys.argv[2]) / path.name).write_bytes(convert(path.read_bytes()))
"""


def with_tensorflow(program, *arguments):
  done = subprocess.run(
    [sys.executable, "-c", program, *map(str, arguments)],
    env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr[-2000:]


def records(shard):
  reader = array_record_module.ArrayRecordReader(str(shard))
  found = reader.read_all()
  reader.close()
  return found


def rewritten(shard, path):
  """The bytes of a shard with the features of every record in sorted order."""
  writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
  for record in records(shard):
    example = tf_example_pb2.Example.FromString(record)
    writer.write(example.SerializeToString(deterministic=True))
  writer.close()
  return path.read_bytes()


@pytest.mark.parametrize(
  ("memory", "shard"), [(1 << 30, 64 << 20), (5000, 8000)], ids=["one", "many"]
)
def test_same_data_set(tmp_path, monkeypatch, memory, shard):
  """Sorted in memory into one shard, and through files into many."""
  folder = tars.make(
    tmp_path / "tars", per_class=6, classes=5, validation=40, images=tars.odd()
  )
  monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", memory)
  monkeypatch.setattr(tfds.core.utils.shard_utils.ShardConfig, "min_shard_size", shard)
  prepare.prepare(folder, tmp_path / "ours")
  with_tensorflow(PREPARE, memory, shard, folder, tmp_path / "theirs")
  ours, theirs = (
    {path.name: path for path in (tmp_path / d / "imagenet2012" / "5.1.0").iterdir()}
    for d in ("ours", "theirs")
  )
  assert ours.keys() == theirs.keys()
  shards = [name for name in ours if "array_record" in name]
  assert len(shards) == (2 if memory > 5000 else 8)
  for name in ours.keys() - set(shards):
    assert ours[name].read_bytes() == theirs[name].read_bytes(), name
  for name in shards:
    # TFDS writes the features of a record in the order of a hash, which changes
    # between its own runs. In sorted order, all is the same.
    assert len(records(theirs[name])) > 0
    assert ours[name].read_bytes() == rewritten(theirs[name], tmp_path / "x"), name


def noisy(name, size):
  rng = np.random.default_rng(len(name))
  noise = rng.integers(-20, 21, (size[1], size[0], 3))
  return Image.fromarray((tars.pixels(name, size) + noise).clip(0, 255).astype("u1"))


def without_adobe_marker(content):
  at = content.index(b"Adobe") - 4
  return content[:at] + content[at + 2 + int.from_bytes(content[at + 2 : at + 4]) :]


def ycck(content):
  at = content.index(b"Adobe") + 11
  return content[:at] + b"\x02" + content[at + 1 :]


def odd_files():
  """PNGs and CMYK JPEGs of many kinds: name -> bytes."""
  files = {}
  for size in ((64, 48), (333, 251)):
    picture = noisy(str(size), size)
    for mode in ("RGB", "L"):
      files[f"{mode}_{size[0]}.png"] = tars.encoded(picture.convert(mode), "PNG")
    picture.putalpha(Image.fromarray(tars.pixels("alpha", size)[..., 0]))
    files[f"RGBA_{size[0]}.png"] = tars.encoded(picture, "PNG")
    picture = picture.convert("RGB").convert("CMYK")
    for quality in (60, 95):
      for name, options in {
        "444": {"subsampling": "4:4:4"},
        "444progressive": {"subsampling": "4:4:4", "progressive": True},
        "422": {"subsampling": "4:2:2"},
        "420": {"subsampling": "4:2:0"},
      }.items():
        content = tars.encoded(picture, quality=quality, **options)
        name = f"{name}_{quality}_{size[0]}.jpg"
        files[f"adobe_{name}"] = content
        files[f"ycck_{name}"] = ycck(content)
        files[f"plain_{name}"] = without_adobe_marker(content)
  return files


def test_same_conversion(tmp_path):
  files = odd_files()
  for folder in ("given", "theirs"):
    (tmp_path / folder).mkdir()
  for name, content in files.items():
    (tmp_path / "given" / name).write_bytes(content)
  with_tensorflow(CONVERT, tmp_path / "given", tmp_path / "theirs")
  assert len(files) == 54
  for name, content in files.items():
    ours = imagenet2012.rgb_jpeg(content)
    theirs = (tmp_path / "theirs" / name).read_bytes()
    if "_422" in name or "_420" in name:  # see rgb_jpeg
      one, other = (np.asarray(Image.open(io.BytesIO(b)), int) for b in (ours, theirs))
      assert abs(one - other).mean() < 3, name
    else:
      assert ours == theirs, name
