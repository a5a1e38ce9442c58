"""Image folders: a fixed order, compact listings, mistakes in one line."""

import pickle

import numpy as np
import pytest
from data_files import encoded, image_folder, picture

from robustjax.data import classes, decode, folder, sources
from robustjax.errors import UserError


@pytest.fixture
def images(tmp_path):
  """train/ with three and val/ with two images of each of two classes."""
  return image_folder(tmp_path / "images", {"train": 3, "val": 2})


def test_a_folder_is_opened_by_its_path(images):
  source = sources.open_source(str(images), split="train")
  assert source.class_names == ("cat", "dog")
  assert (len(source), source.image_shape) == (6, (None, None, 3))
  for i in range(6):
    label, number = divmod(i, 3)
    name = source.class_names[label]
    path = images / "train" / name / f"{name}_{number}.jpg"
    assert source[i] == {"image": path.read_bytes(), "label": label}
    assert source.location(i) == str(path)


def test_channels_are_those_asked_for(images):
  source = sources.open_source(str(images), split="val", channels=1)
  assert source.image_shape == (None, None, 1)
  assert decode.decode(source[3]["image"], source.image_shape[2]).shape[2] == 1


def test_classes_and_files_are_in_the_order_of_their_names(tmp_path):
  order = ["n1/a.jpg", "n1/b.JPEG", "n1/c.png", "n10/Z.Jpg", "n10/b.jpg", "n2/\xe9.jpg"]
  for name in reversed(order):
    (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "train" / name).write_bytes(b"")
  files = folder.read(tmp_path, "train")
  assert files.class_names == ("n1", "n10", "n2")
  assert [files.location(i) for i in range(len(files))] == [
    str(tmp_path / "train" / name) for name in order
  ]
  assert [files[i]["label"] for i in range(6)] == [0, 0, 0, 1, 1, 2]


def test_what_is_no_image_is_left_out(images):
  (images / "train" / ".cache").mkdir()
  (images / "train" / "notes.txt").write_text("")
  for name in ("._cat_0.jpg", "list.csv", "jpg"):
    (images / "train" / "cat" / name).write_text("")
  files = folder.read(images, "train")
  assert len(files) == 6
  first = images / "train" / "notes.txt"
  assert files.left_out == f"3 files, such as {first}"
  assert folder.read(images, "val").left_out == ""


def test_images_a_level_deeper_are_found_and_named(images):
  """As in train/<class>/images/<image>."""
  deeper = images / "val" / "dog" / "images" / "more"
  deeper.mkdir(parents=True)
  for i in range(2):
    (images / "val" / "dog" / f"dog_{i}.jpg").rename(deeper / f"{i}.JPEG")
  message("val/dog/images has 2 images, a level deeper", "up, these to", name=images,
          split="val")  # fmt: skip


def test_a_split_without_images_says_what_was_looked_for(images):
  for path in images.glob("val/*/*.jpg"):
    path.rename(path.with_suffix(".bmp"))
  message("val has 2 folders of classes, and no files in them", "end in .jpg",
          name=images, split="val")  # fmt: skip


def test_a_class_without_images_keeps_its_label(images):
  (images / "train" / "bird").mkdir()
  files = folder.read(images, "train")
  assert files.class_names == ("bird", "cat", "dog")
  assert [files[i]["label"] for i in range(6)] == [1, 1, 1, 2, 2, 2]


def test_a_source_survives_pickling(images):
  source = sources.open_source(str(images), split="train")
  again = pickle.loads(pickle.dumps(source))
  assert again == source and again[4] == source[4]
  assert again.location(4) == source.location(4)


def test_a_worker_gets_little_more_than_the_names(tmp_path):
  names = np.sort(np.array([f"n01440764_{i}.JPEG".encode() for i in range(9000)]))
  files = folder.Files(str(tmp_path), ("a", "b"), (names,) * 2, np.array([9000, 18000]))
  assert len(pickle.dumps(files)) < 18000 * 25


def message(*parts, name, **options):
  with pytest.raises(UserError) as caught:
    sources.open_source(str(name), **({"split": "train"} | options))
  text = str(caught.value)
  assert "\n" not in text
  for part in parts:
    assert part in text, text


def test_mistakes_are_one_line(images, tmp_path):
  message("no folder 'test', only train, val", "test_split", name=images, split="test")
  message("train[:2]", name=images, split="train[:2]")
  message("has no version 5.1.0", "data.version=", name=images, version="5.1.0")
  message("missing cannot be read (No such file", name=tmp_path / "missing")
  message("no folder 'train'", "<class>/<image>", name=images / "train" / "cat")
  (tmp_path / "flat" / "train").mkdir(parents=True)
  (tmp_path / "flat" / "train" / "1.jpg").write_bytes(encoded(picture(0, (4, 4))))
  message("no folders of classes", "<class>/<image>", name=tmp_path / "flat")


def test_a_home_folder_is_one_too(images, monkeypatch):
  monkeypatch.setenv("HOME", str(images.parent))
  assert len(sources.open_source("~/images", split="val")) == 4


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (lambda val: (val / "dog").rename(val / "dogs"), "class 1 is 'dog'.*'val' 'dogs'"),
    (lambda val: (val / "ant").mkdir(), "class 0 is 'cat', .*'ant'"),
    (lambda val: (val / "eel").mkdir(), "there are 2 classes, .*'val' 3"),
  ],
)
def test_splits_with_other_classes_are_refused(images, change, words):
  change(images / "val")
  train, val = (sources.open_source(str(images), split=s) for s in ("train", "val"))
  with pytest.raises(UserError, match=words):
    classes.check_same(train, val)


def test_a_file_that_is_gone_is_named(images):
  source = sources.open_source(str(images), split="train")
  (images / "train" / "dog" / "dog_1.jpg").unlink()
  with pytest.raises(sources.BrokenImage, match="index 4 \\(.*/train/dog/dog_1.jpg\\)"):
    source[4]
