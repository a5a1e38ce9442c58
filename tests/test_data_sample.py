"""The images that stand for a split."""

import collections

import numpy as np
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


def test_both_ends_share_no_image(tmp_path):
  folder = image_folder(tmp_path / "images", {"val": 30}, size=(4, 4))
  for source in (toy(60), sources.open_source(str(folder), split="val")):
    first, last = sample.indices(source, 40), sample.others(source, 20)
    assert sorted([*first, *last]) == list(range(60))
  labels = [source[i]["label"] for i in last]
  assert 4 < sum(labels) < 16  # of the second of two classes
  assert list(sample.others(toy(20), 5)) == [15, 16, 17, 18, 19]


def test_a_file_in_the_order_of_its_classes_is_drawn_from(tmp_path):
  labels = np.arange(40) // 10
  shuffled = np.random.default_rng(0).permutation(labels)
  found = []
  for order in (labels, shuffled):
    images = np.zeros((40, 4, 4, 3), np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=order)
    source = sources.open_source(str(tmp_path / "set.npz"), split="test")
    found.append(list(sample.indices(source, 10)))
  assert len({labels[i] for i in found[0]}) > 2 and found[1] == list(range(10))


def test_the_shipped_images_are_in_no_order_of_their_classes():
  source = sources.open_source("fashion_mnist_mini", split="test")
  for part in (sample.indices(source, 200), sample.others(source, 200)):
    counts = np.bincount([source[i]["label"] for i in part])
    assert counts.min() > 8 and len(counts) == 10
