"""Images of a .npz file: what is taken, what is refused, and how it is said."""

import zipfile

import numpy as np
import pytest
from data_files import picture

from experiments import mbn_alp
from robustjax.data import pipeline, sources, transforms
from robustjax.errors import UserError
from robustjax.run.data import open_data

IMAGES = np.stack([picture(i, (8, 8)) for i in range(5)])
LABELS = np.array([2, 0, 1, 1, 0])


@pytest.fixture
def write(tmp_path):
  """Arrays -> the path of a file that has them."""

  def to_file(**arrays):
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)
    return path

  return to_file


def opened(path, split="test"):
  return sources.open_source(str(path), split=split)


def test_a_file_is_a_source(write, tmp_path, monkeypatch):
  source = opened(write(images=IMAGES, labels=LABELS))
  assert (len(source), source.split, source.image_shape) == (5, "all", (8, 8, 3))
  assert source.class_names == ("0", "1", "2")
  for i in range(5):
    np.testing.assert_array_equal(source[i]["image"], IMAGES[i])
    assert source[i]["label"] == LABELS[i]
  assert source.at(3).endswith("split all, index 3 (" + str(tmp_path / "set.npz") +
    ", image 3)")  # fmt: skip
  monkeypatch.chdir(tmp_path)
  assert len(opened("set.npz")) == 5
  monkeypatch.setenv("HOME", str(tmp_path))
  assert len(opened("~/set.npz")) == 5


def test_it_goes_through_the_pipeline(write):
  source = opened(write(images=IMAGES, labels=LABELS))
  plain = transforms.by_name("none", False, 8)
  (batch,) = pipeline.evaluation_batches(source, plain, indices=[4, 1], batch_size=2)
  np.testing.assert_array_equal(batch["image"], IMAGES[[4, 1]])
  np.testing.assert_array_equal(batch["label"], LABELS[[4, 1]])


def test_oblong_images_are_cropped_as_imagenet_s(write):
  wide = np.stack([picture(i, (12, 8)) for i in range(5)])
  source = opened(write(images=wide, labels=LABELS))
  crop = transforms.by_name("imagenet", False, 8)
  batch = pipeline.batch_of(source, crop, range(5))
  assert batch["image"].shape == (5, 8, 8, 3)


@pytest.mark.parametrize("kind", [np.float32, np.int64, np.uint16])
def test_whole_numbers_of_any_type_are_pixels(write, kind):
  source = opened(write(images=IMAGES.astype(kind), labels=LABELS.astype(np.uint8)))
  assert source[0]["image"].dtype == np.uint8
  np.testing.assert_array_equal(source[2]["image"], IMAGES[2])


def test_grey_images_need_no_axis_for_it(write):
  for images in (IMAGES[..., 0], IMAGES[..., :1]):
    source = opened(write(images=images, labels=LABELS))
    assert source.image_shape == (8, 8, 1)
    np.testing.assert_array_equal(source[1]["image"], IMAGES[1, ..., :1])


def test_names_are_those_of_the_file(write):
  names = np.array(["cat", "dog", "eel", "fox"])
  source = opened(write(images=IMAGES, labels=LABELS, names=names, more=np.ones(2)))
  assert source.class_names == tuple(names)


OBJECTS = np.array([1, "a", None, 2, 3], object)
WITH = {"images": IMAGES, "labels": LABELS}


@pytest.mark.parametrize(
  ("arrays", "words"),
  [
    ({"images": IMAGES}, "no array 'labels', only images: "),
    ({"x": IMAGES, "y": LABELS}, "no array 'images', only x, y: save the pixels"),
    (WITH | {"images": IMAGES[0, 0]}, r"images has the shape \[8, 3\]: save \[n, h"),
    (WITH | {"images": IMAGES[:0]}, r"images has the shape \[0, 8, 8, 3\]"),
    (WITH | {"images": IMAGES.repeat(2, 3)}, r"shape \[5, 8, 8, 6\]: .*1 or 3 ch"),
    (WITH | {"images": IMAGES.transpose(0, 3, 1, 2)}, r"transpose\(0, 2, 3, 1\)"),
    (WITH | {"images": IMAGES[:, :6, :, 0]}, "grey images are 6 x 8 .*square"),
    (WITH | {"images": IMAGES / 255}, r"from 0 to 1: save np.rint\(255"),
    (WITH | {"images": IMAGES / 127.5 - 1}, "from -1 to 1: .*normalisation"),
    (WITH | {"images": IMAGES * np.nan}, "from nan to nan: save pixels"),
    (WITH | {"images": IMAGES + 0.5}, "from 0.5 to 255.5: save pixels"),
    (WITH | {"images": IMAGES * 0.9}, r"not whole numbers: save np.rint\(images\)"),
    (WITH | {"images": IMAGES.astype(int) + 9}, "to 264: save pixels"),
    (WITH | {"images": IMAGES > 9}, "images are bool: save them as uint8"),
    (WITH | {"labels": LABELS[:4]}, r"labels has the shape \[4\] for 5 images"),
    (WITH | {"labels": LABELS[:, None]}, r"labels has the shape \[5, 1\] for 5"),
    (WITH | {"labels": LABELS - 1}, "the label of image 1 is -1: classes count from"),
    (WITH | {"labels": LABELS + 10**12}, "image 0 is 1000000000002: number the class"),
    (WITH | {"labels": LABELS * 1.0}, "labels are float64: save the number"),
    (WITH | {"labels": OBJECTS}, "labels holds Python objects.*may run code"),
    (WITH | {"names": np.array(["a", "b"])}, "image 0 is 2, and names has 2 classes"),
    (WITH | {"names": LABELS}, r"names are int64 of the shape \[5\]: save one string"),
  ],
)
def test_mistakes_are_one_line(write, arrays, words):
  path = write(**arrays)
  with pytest.raises(UserError, match=words) as caught:
    opened(path)
  assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_damage_is_told_from_what_was_never_one(write, tmp_path):
  content = write(images=IMAGES, labels=LABELS).read_bytes()
  path = tmp_path / "other.npz"
  changed = bytearray(content)
  changed[400] ^= 1  # a pixel: the zip's checksum no longer fits
  with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
    archive.writestr("images", "no array")
    archive.writestr("labels", "no array")
  text = (tmp_path / "text.npz").read_bytes()
  for written, words in (
    (content[: len(content) // 2], "not a whole .npz file"),
    (b"", "not a whole .npz file"),
    (bytes(changed), "is damaged \\(Bad CRC.*copy it again"),
    (text, "is damaged \\(images is no array"),
  ):
    path.write_bytes(written)
    with pytest.raises(
      UserError, match=f"{path} {words}" if "is d" in words else words
    ):
      opened(path)
  with pytest.raises(UserError, match="missing.npz does not exist"):
    opened(tmp_path / "missing.npz")
  (tmp_path / "folder.npz").mkdir()
  with pytest.raises(UserError, match="folder.npz is damaged .*directory"):
    opened(tmp_path / "folder.npz")


def test_no_run_trains_on_what_it_is_tested_on(write):
  c = mbn_alp.get_config("mini")
  c.data.name, c.data.version = str(write(images=IMAGES, labels=LABELS)), ""
  with pytest.raises(UserError, match="no splits to train and to test on"):
    open_data(c)
