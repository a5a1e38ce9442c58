"""The classes of data sets: whether two sets' labels mean the same, and ImageNet's."""

import hashlib
from collections.abc import Iterable, Sequence

import tensorflow_datasets as tfds

from robustjax.data.sources import Source
from robustjax.errors import UserError


def digest(names: Iterable[str]) -> str:
  """A digest of the names of classes in the order of their labels.

  Args:
    names: one a class.

  Returns:
    The first 16 hexadecimal digits of the SHA-256 of the names, joined by newlines.
  """
  # Names of folders need not be UTF-8.
  joined = "\n".join(names).encode(errors="surrogateescape")
  return hashlib.sha256(joined).hexdigest()[:16]


def first_difference(names: Sequence[str], expected_digest: str) -> str:
  """Where the names of classes leave ImageNet's, if those are what was expected.

  Args:
    names: that were found, of a data set with another digest.
    expected_digest: of the names that were expected.

  Returns:
    Such as "class 3 is 'cat', not 'n01484850'"; "" if the digest is of other names.
  """
  expected = imagenet_synsets("labels.txt")
  if digest(expected) != expected_digest:
    return ""
  return _first_difference(names, expected, "not ")


def check_same(train: Source, test: Source) -> None:
  """Refuses splits whose labels mean different classes.

  Raises:
    UserError: one line with the first difference.
  """
  if train.class_names != test.class_names:
    other = f"but of split {test.split!r} "
    raise UserError(
      f"{train.name}: of split {train.split!r},"
      f" {_first_difference(train.class_names, test.class_names, other)}: give both"
      " splits the same classes"
    )


def _first_difference(names: Sequence[str], others: Sequence[str], other: str) -> str:
  for i, (one, two) in enumerate(zip(names, others, strict=False)):
    if one != two:
      return f"class {i} is {one!r}, {other}{two!r}"
  return f"there are {len(names)} classes, {other}{len(others)}"


def imagenet_synsets(name: str) -> list[str]:
  """One of the lists of synsets that TFDS has of imagenet2012.

  Args:
    name: "labels.txt", the classes in the order of their labels, or
      "validation_labels.txt", the class of each validation image.
  """
  return list(tfds.core.tfds_path(f"datasets/imagenet2012/{name}").read_text().split())
