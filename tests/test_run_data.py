"""Images are those of the configuration, or one line says what is wrong."""

import pytest
from data_files import folder_config, image_folder
from PIL import Image

from experiments import mbn_alp
from robustjax import config
from robustjax.data import examples
from robustjax.errors import UserError
from robustjax.run.data import data_names, open_data


def test_imagenet_missing_tells_how_to_prepare_it(tmp_path):
  c = mbn_alp.get_config()
  c.data.data_dir = str(tmp_path)
  with pytest.raises(UserError) as caught:
    open_data(c)
  message = str(caught.value)
  assert "robustjax.data.prepare imagenet2012" in message
  assert "\n" not in message


@pytest.mark.parametrize(
  "name, value",
  [("train_examples", 60000), ("test_examples", 3000), ("classes", 9),
   ("class_digest", "0" * 16)],
)  # fmt: skip
def test_data_is_checked_against_the_configuration(name, value):
  c = mbn_alp.get_config("mini")
  found = c.data[name]
  c.data[name] = value
  with pytest.raises(UserError) as caught:
    open_data(c)
  text = str(caught.value)
  assert f"data.{name} is {found}, not {value}" in text and "\n" not in text
  assert text.endswith(f"add --config.data.{name}={found}")


def test_an_empty_digest_is_not_checked():
  c = mbn_alp.get_config("mini")
  c.data.class_digest = ""
  open_data(c)


def test_a_folder_is_taken_with_the_flags_that_its_mistake_names(tmp_path):
  folder = image_folder(tmp_path / "images", {"train": 3, "val": 2})
  c = folder_config(folder)
  with pytest.raises(UserError) as caught:
    open_data(c)
  what, _, flags = str(caught.value).partition(", add ")
  assert "class 0 is 'cat', not 'n01440764'" in what and "\n" not in what
  for flag in flags.split():
    name, _, value = flag.removeprefix("--config.").partition("=")
    section, _, key = name.partition(".")
    c[section][key] = type(c[section][key])(value)
  config.check(c)
  data = open_data(c)
  assert (len(data.train), len(data.test), c.eval.images) == (6, 4, 4)


def test_splits_with_other_classes_are_refused(tmp_path):
  folder = image_folder(tmp_path / "images", {"train": 1, "val": 1})
  (folder / "val" / "dog").rename(folder / "val" / "cow")
  with pytest.raises(UserError, match="class 0 is 'cat', .* 'val' 'cat'|class 1"):
    open_data(folder_config(folder))


def test_images_of_another_size_are_refused():
  c = mbn_alp.get_config("mini")
  c.data.image_size = 32
  with pytest.raises(UserError, match="has images of .*28.*not of 32 x 32 x 1"):
    open_data(c)


def test_an_evaluation_is_named_by_its_crop_where_it_crops():
  c = mbn_alp.get_config("")
  assert data_names(c)["crop"] == "opencv 256/224 exif"
  c.data.resize, c.data.orientation = -1, "stored"
  assert data_names(c)["crop"] == "224 stored"
  assert "crop" not in data_names(mbn_alp.get_config("mini"))


def test_exif_data_turn_what_is_trained_and_evaluated_on(tmp_path):
  folder = image_folder(tmp_path / "images", {"train": 1, "val": 1}, size=(12, 8))
  exif = Image.Exif()
  exif[0x0112] = 6
  for path in folder.rglob("*.jpg"):
    Image.open(path).save(path, exif=exif)
  c = folder_config(folder)
  c.data.classes, c.data.train_examples, c.data.test_examples = 2, 2, 2
  c.data.class_digest = ""
  for orientation, shape in (("exif", (12, 8, 3)), ("stored", (8, 12, 3))):
    c.data.orientation = orientation
    for source in open_data(c):
      assert examples.read(source, lambda image: image, 0).image.shape == shape
