"""Lists of images: by index, by the end of a path, and every mistake with its line."""

import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from data_files import encoded, picture, write_fake

from robustjax.data import ids, sources
from robustjax.errors import UserError


class Named(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
  """Images whose records have file names, as imagenet2012's do."""

  name = "named"
  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    features = {
      "image": tfds.features.Image(encoding_format="png"),
      "label": tfds.features.ClassLabel(names=["cat", "dog"]),
      "file_name": tfds.features.Text(),
    }
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(features),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    return {"test": self._generate_examples()}

  def _generate_examples(self):
    for i in range(6):
      # Encoded, or TFDS would want TensorFlow.
      image = io.BytesIO(encoded(picture(i, (4, 4)), "PNG"))
      yield i, {"image": image, "label": i % 2, "file_name": f"val_{i}.JPEG"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  root = tmp_path_factory.mktemp("tfds")
  Named(data_dir=str(root), file_format="array_record").download_and_prepare()
  return sources.open_source("named", split="test", data_dir=root)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """cat: a.jpg, b.jpg, b.png; dog: a.jpg, c.v2.jpg, d e.jpg."""
  root = tmp_path_factory.mktemp("folder")
  for name in ("cat/a.jpg", "cat/b.jpg", "cat/b.png", "dog/a.jpg", "dog/c.v2.jpg"):
    (root / "val" / name).parent.mkdir(parents=True, exist_ok=True)
    (root / "val" / name).write_bytes(encoded(picture(0, (4, 4))))
  (root / "val" / "dog" / "d e.jpg").write_bytes(b"")
  return sources.open_source(str(root), split="val")


@pytest.fixture
def read(tmp_path):
  """A list's text and a source -> the indices."""

  def indices(text, source):
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode())
    return ids.indices(path, source)

  return indices


def test_indices_and_names_of_a_folder_in_the_order_of_the_lines(read, folder):
  text = "# ours\n\n5\ndog/a.jpg\r\n  b.png  \nval/cat/a\n./dog/c.v2\n"
  assert read(text, folder) == [5, 3, 2, 0, 4]
  assert read("\ufeffd e.jpg\n" + folder.location(1), folder) == [5, 1]


def test_names_of_records(read, prepared):
  """The class counts, and folders that TFDS does not know do not."""
  text = "val/cat/val_4.JPEG\ndog/val_3.JPEG\nval_0.JPEG\nval_5\n1\n"
  assert read(text, prepared) == [4, 3, 0, 5, 1]


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("", "lists no image"),
    ("# 1\n\n", "lists no image"),
    ("0\n\n6\n", "line 3: .*has the images 0..5, not 6"),
    ("-1\n", "line 1: .*not -1"),
    ("0\n# two\nx.jpg\n", "line 3: .*split val, has no image 'x.jpg'"),
    ("bird/b.jpg\n", "line 1: .*has no image 'bird/b.jpg'"),
    ("train/cat/b.jpg\n", "line 1: .*has no image"),
    ("cat/\n", "line 1: .*has no image 'cat/'"),
    ("a.jpg\n", "line 1: 'a.jpg' is image 0 and image 3: "),
    ("5\ncat/b\n", "line 2: 'cat/b' is image 1 and image 2: "),
    ("4\n0\n4\n", "line 3: '4' is image 4, which line 1 names already"),
    ("cat/a.jpg\n0\n", "line 2: '0' is image 0, which line 1 names already"),
    ("b.jpg\nb.jpg\n", "line 2: 'b.jpg' is image 1, which line 1 names already"),
  ],
)
def test_mistakes_are_one_line_with_their_place(read, folder, text, words):
  with pytest.raises(UserError, match=words) as caught:
    read(text, folder)
  assert "\n" not in str(caught.value)


def test_a_name_of_the_wrong_class_is_not_the_record(read, prepared):
  with pytest.raises(UserError, match="line 2: .*has no image 'dog/val_4.JPEG'"):
    read("0\ndog/val_4.JPEG\n", prepared)


def test_images_without_names_have_indices_only(read, tmp_path):
  fake = write_fake(tmp_path / "idx", 20, np.random.default_rng(0))
  source = sources.open_source(str(fake), split="test")
  assert read("7\n2\n", source) == [7, 2]
  with pytest.raises(UserError, match="line 2: .* no names such as 'x'.*indices"):
    read("7\nx\n", source)


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path, folder):
  for path in (tmp_path / "missing.txt", tmp_path):
    with pytest.raises(UserError, match=f"{path} cannot be read \\(.*--ids"):
      ids.indices(path, folder)
