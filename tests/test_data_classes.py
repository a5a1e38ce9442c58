"""Digests of classes, and where two lists of them part."""

from robustjax import config
from robustjax.data import classes, sources


def test_sorted_synset_folders_have_imagenets_digest():
  synsets = classes.imagenet_synsets("labels.txt")
  assert len(synsets) == 1000 and synsets == sorted(synsets)
  expected = config.DEFAULTS["data.class_digest"].value
  assert classes.digest(synsets) == expected


def test_the_shipped_sets_digest():
  source = sources.open_source("fashion_mnist_mini", split="test")
  digest = classes.digest(source.class_names)
  assert digest == config.MINI["data.class_digest"]
  assert digest != classes.digest(reversed(source.class_names))


def test_the_first_difference_from_imagenet_is_named():
  digest = config.DEFAULTS["data.class_digest"].value
  names = classes.imagenet_synsets("labels.txt")
  swapped = [*names[:7], names[8], names[7], *names[9:]]
  found = classes.first_difference(swapped, digest)
  assert found == f"class 7 is {names[8]!r}, not {names[7]!r}"
  assert classes.first_difference(names[:-1], digest) == (
    "there are 999 classes, not 1000"
  )
  assert classes.first_difference(swapped, "0" * 16) == ""


def test_class_names_need_not_be_utf_8():
  assert classes.digest(["a", "b\udcff"]) != classes.digest(["a", "b"])
