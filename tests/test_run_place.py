"""A folder of images may move; other images are refused, wherever they are."""

import shutil

import numpy as np
import pytest
from data_files import folder_config, image_folder, write_fake

from robustjax.data import sources
from robustjax.errors import UserError
from robustjax.run import place, workdir


@pytest.fixture
def run(tmp_path):
  """The configuration and the folder of a run that has saved a step."""
  c = folder_config(image_folder(tmp_path / "images", {"train": 2, "val": 2}), "mini")
  folder = tmp_path / "run"
  workdir.claim(folder, c, digest(c)).close()
  (folder / "checkpoints/7").mkdir(parents=True)
  return c, folder


def digest(c):
  return "".join(
    sources.digest(sources.open_source(c.data.name, split=split))
    for split in ("train", "val")
  )


def test_a_folder_that_moved_goes_on(run, tmp_path):
  c, folder = run
  assert not place.moved(folder, c)
  for name in (f"{c.data.name}/", f"{c.data.name}/../images"):
    c.data.name = name
    assert not place.moved(folder, c)
    place.check(folder, c, digest(c))
  shutil.move(tmp_path / "images", tmp_path / "there")
  c.data.name = str(tmp_path / "there")
  assert place.moved(folder, c)
  place.check(folder, c, digest(c))


def test_other_images_are_refused(run, tmp_path):
  c, folder = run
  (tmp_path / "images/val/cat/cat_0.jpg").rename(tmp_path / "images/val/cat/z.jpg")
  with pytest.raises(
    UserError, match="has other images than .* put those back, or giv"
  ):
    place.check(folder, c, digest(c))


def test_where_nothing_is_known_another_place_is_another_set(run, tmp_path):
  c, folder = run
  workdir.claim(folder, c).close()  # as an older version did
  place.check(folder, c, digest(c))
  shutil.copytree(tmp_path / "images", tmp_path / "there")
  c.data.name = str(tmp_path / "there")
  with pytest.raises(
    UserError, match="holds a run with config.data.name=.*/images', n"
  ):
    place.check(folder, c, digest(c))


def test_a_name_and_a_version_need_no_digest(tmp_path):
  shipped = sources.open_source("fashion_mnist_mini", split="test")
  assert sources.digest(shipped) == ""
  fakes = []
  for seed in (0, 0, 1):
    name = str(write_fake(tmp_path / "fake", 20, np.random.default_rng(seed)))
    fakes.append(sources.digest(sources.open_source(name, split="test")))
  assert fakes[0] == fakes[1] != fakes[2]
