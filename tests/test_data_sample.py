"""The images that stand for a split."""

import collections

import pytest
from data_batches import toy
from data_files import image_folder

from robustjax.data import sample, sources
from robustjax.errors import UserError


def test_the_first_of_a_data_set_without_order():
  assert list(sample.indices(toy(20), 5)) == [0, 1, 2, 3, 4]


def test_of_a_folder_images_of_all_its_classes(tmp_path):
  folder = image_folder(tmp_path / "images", {"val": 30}, size=(4, 4))
  source = sources.open_source(str(folder), split="val")
  chosen = sample.indices(source, len(source) // 2)
  assert list(chosen) == sorted(set(chosen)) and len(chosen) == len(source) // 2
  assert list(chosen) == list(sample.indices(source, len(source) // 2))
  labels = collections.Counter(source[i]["label"] for i in chosen)
  assert len(labels) == source.num_classes
  assert list(sample.indices(source, len(source))) == list(range(len(source)))


def test_more_than_there_are_is_refused():
  with pytest.raises(UserError, match="has 20 images, not 21: ask for fewer"):
    sample.indices(toy(20), 21)
