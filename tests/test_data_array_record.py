"""Opening prepared data sets, and every way in which that goes wrong."""

import io
import json
import pickle
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from robustjax.data import array_record, decode, pipeline, sources, transforms
from robustjax.errors import UserError


class ImagenetLike(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
  """JPEGs of many shapes, described as TFDS describes ImageNet's."""

  name = "imagenet_like"
  VERSION = tfds.core.Version("5.1.0")

  def _info(self):
    features = {
      "image": tfds.features.Image(encoding_format="jpeg"),
      "label": tfds.features.ClassLabel(names=["tench", "goldfish", "shark"]),
      "file_name": tfds.features.Text(),
    }
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(features),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples(7), "validation": self.unlabelled(2)}

  def _generate_examples(self, n):
    for i in range(n):
      image = {"image": io.BytesIO(jpeg(i)), "label": i % 3, "file_name": f"{i}.JPEG"}
      yield i, image

  def unlabelled(self, n):
    for i in range(n):
      yield i, {"image": io.BytesIO(jpeg(i)), "label": -1, "file_name": f"{i}.JPEG"}


def jpeg(i):
  pixels = np.full((30 + i, 40 + 2 * i, 3), (20 * i, 10, 200), np.uint8)
  out = io.BytesIO()
  Image.fromarray(pixels).save(out, "JPEG", quality=95)
  return out.getvalue()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  root = tmp_path_factory.mktemp("tfds")
  ImagenetLike(data_dir=str(root), file_format="array_record").download_and_prepare()
  return root


@pytest.fixture
def data_dir(prepared, tmp_path):
  """A copy that a test may damage."""
  shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
  return tmp_path


def version_dir(data_dir):
  return data_dir / "imagenet_like" / "5.1.0"


def edit_info(data_dir, **changes):
  path = version_dir(data_dir) / "dataset_info.json"
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def message(*parts, **arguments):
  """The message of the UserError that open_source must raise."""
  with pytest.raises(UserError) as caught:
    sources.open_source(**({"split": "train"} | arguments))
  text = str(caught.value)
  assert "\n" not in text
  for part in parts:
    assert part in text
  return text


def test_a_set_is_read_by_name_from_its_folder(prepared):
  source = sources.open_source("imagenet_like", split="train", data_dir=prepared)
  assert (source.name, source.split, len(source)) == ("imagenet_like", "train", 7)
  assert source.class_names == ("tench", "goldfish", "shark")
  assert source.num_classes == 3
  assert source.image_shape == (None, None, 3)
  for i in range(7):
    assert source[i] == {"image": jpeg(i), "label": i % 3}
  assert decode.decode(source[2]["image"], 3).shape == (32, 44, 3)


def test_a_set_goes_through_the_pipeline(prepared):
  source = sources.open_source("imagenet_like", split="train", data_dir=prepared)
  train = transforms.by_name("imagenet", True, 32)
  options = {"seed": 0, "batch_size": 4, "first_step": 0, "last_step": 2}
  batches = list(pipeline.train_batches(source, train, **options))
  assert [b["image"].shape for b in batches] == [(4, 32, 32, 3)] * 2
  plain = transforms.by_name("imagenet", False, 32)
  (batch,) = pipeline.evaluation_batches(
    source, plain, indices=range(5, 7), batch_size=2
  )
  # The images are of one colour, (20 * i, 10, 200).
  colours = batch["image"].astype(int).mean(axis=(1, 2))
  assert np.abs(colours - [[100, 10, 200], [120, 10, 200]]).max() < 3


def test_default_folder_is_that_of_tfds(prepared, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
  assert len(sources.open_source("imagenet_like", split="train[:3]")) == 3


def test_newest_version_unless_named(data_dir):
  # As text 10.0.0 sorts before 5.1.0. The first folder is an interrupted preparation.
  family = data_dir / "imagenet_like"
  shutil.copytree(family / "5.1.0", family / "incomplete.AAAA_99.0.0")
  shutil.copytree(family / "5.1.0", family / "10.0.0")
  edit = family / "10.0.0" / "dataset_info.json"
  edit.write_text(edit.read_text().replace("5.1.0", "10.0.0").replace('"7"', '"6"'))
  lengths = [
    len(sources.open_source("imagenet_like", split="train", data_dir=data_dir, **v))
    for v in ({}, {"version": "5.1.0"})
  ]
  assert lengths == [6, 7]


def test_a_source_survives_pickling(prepared):
  source = sources.open_source("imagenet_like", split="train", data_dir=prepared)
  assert source[1]["label"] == 1  # Files are open while it is pickled.
  again = pickle.loads(pickle.dumps(source))
  assert again == source
  assert again[4] == source[4]


@pytest.mark.parametrize("index", [-1, 7])
def test_an_index_out_of_range_is_an_index_error(prepared, index):
  source = sources.open_source("imagenet_like", split="train", data_dir=prepared)
  with pytest.raises(IndexError):
    source[index]


def test_missing_set(tmp_path):
  message(
    str(tmp_path),
    "tfds build flowers --file_format=array_record",
    name="flowers",
    data_dir=tmp_path,
  )


def test_a_name_that_is_a_folder_here_gets_a_hint(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "images").mkdir()
  message("would be ./images", name="images", data_dir=tmp_path / "data")


def test_missing_imagenet_says_which_files_it_is_made_from(tmp_path):
  text = message(
    "ILSVRC2012_img_train.tar",
    "ILSVRC2012_img_val.tar",
    "image-net.org",
    "python -m robustjax.data.prepare imagenet2012 --archives=DIR",
    f"--data_dir={tmp_path}",
    name="imagenet2012",
    data_dir=tmp_path,
  )
  assert "TensorFlow" not in text


def test_missing_version(prepared):
  message("9.9.9", "5.1.0", name="imagenet_like", data_dir=prepared, version="9.9.9")


@pytest.mark.parametrize("split", ["test", "train[:", "train[5", ""])
def test_missing_split(prepared, split):
  message("train, validation", name="imagenet_like", data_dir=prepared, split=split)


def test_format_without_random_access(data_dir):
  edit_info(data_dir, fileFormat="tfrecord")
  message("tfrecord", "tfds convert_format", name="imagenet_like", data_dir=data_dir)


def test_damaged_description(data_dir):
  (version_dir(data_dir) / "dataset_info.json").write_text("{")
  message("dataset_info.json", name="imagenet_like", data_dir=data_dir)


def test_missing_file_is_found_when_opening(data_dir):
  (shard,) = version_dir(data_dir).glob("*-train.*")
  shard.unlink()
  message("lacks 1 of the 1 files", shard.name, name="imagenet_like", data_dir=data_dir)


def test_features_of_another_kind(data_dir):
  path = version_dir(data_dir) / "features.json"
  path.write_text(path.read_text().replace('"label"', '"klass"'))
  message("file_name, image, klass", name="imagenet_like", data_dir=data_dir)


def test_damaged_file_names_the_record(data_dir):
  (shard,) = version_dir(data_dir).glob("*-train.*")
  content = bytearray(shard.read_bytes())
  content[300:2000] = bytes(1700)
  shard.write_bytes(content)
  source = sources.open_source("imagenet_like", split="train", data_dir=data_dir)
  with pytest.raises(UserError, match="imagenet_like, split train, index 1"):
    _ = [source[i] for i in (1, 2)]


def test_split_without_labels(prepared):
  source = sources.open_source("imagenet_like", split="validation", data_dir=prepared)
  with pytest.raises(UserError, match="label -1 is not one of 0..2"):
    source[0]


@pytest.mark.parametrize("change", [{"name": "imagenet"}, {"version": "5.0.0"}])
def test_a_description_of_another_data_set(data_dir, change):
  edit_info(data_dir, **change)
  ((key, value),) = change.items()
  message(f"says {key} {value!r}", name="imagenet_like", data_dir=data_dir)


def test_a_place_is_a_shard_and_a_record(prepared):
  source = sources.open_source("imagenet_like", split="train[3:]", data_dir=prepared)
  assert (
    source.location(2) == "imagenet_like-train.array_record-00000-of-00001, record 5"
  )
  assert pickle.loads(pickle.dumps(source)).location(2) == source.location(2)


def test_a_place_is_found_in_any_shard():
  shards = (("a", 0, 4), ("b", 2, 3), ("c", 0, 1))
  shards = tuple(array_record.Shard(*shard) for shard in shards)
  records = array_record.Records((), (None, None, 3), [], shards)
  found = [records.location(i) for i in (0, 3, 4, 6, 7)]
  assert found == [f"{x}, record {i}" for x, i in
                   (("a", 0), ("a", 3), ("b", 2), ("b", 4), ("c", 0))]  # fmt: skip


def test_one_damaged_record_leaves_the_others_readable(data_dir):
  (shard,) = version_dir(data_dir).glob("*-train.*")
  content = bytearray(shard.read_bytes())
  content[2000] ^= 255
  shard.write_bytes(content)
  source = sources.open_source("imagenet_like", split="train", data_dir=data_dir)
  broken = []
  for i in range(7):
    try:
      assert source[i]["image"] == jpeg(i)
    except sources.BrokenImage as error:
      broken.append(i)
      assert f"index {i} ({shard.name}, record {i})" in str(error)
  assert len(broken) == 1


def test_an_empty_slice_is_refused(data_dir):
  with pytest.raises(UserError, match="'train\\[2:2\\]' .* is empty"):
    sources.open_source("imagenet_like", split="train[2:2]", data_dir=data_dir)


def test_an_empty_version_is_the_newest(data_dir):
  named = sources.open_source(
    "imagenet_like", split="train", data_dir=data_dir, version=""
  )
  assert len(named) == 7


@pytest.mark.parametrize("name", ["~nobody-of-this-name/x"])
def test_a_home_that_nobody_has_is_one_line(name):
  with pytest.raises(UserError, match="nobody-of-this-name"):
    sources.open_source(name, split="train", version="")
  with pytest.raises(UserError, match="nobody-of-this-name"):
    sources.open_source("imagenet_like", split="train", data_dir=name)
