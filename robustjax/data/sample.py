"""Which images stand for a whole split."""

from collections.abc import Sequence

import numpy as np

from robustjax.data.folder import Files
from robustjax.data.sources import Source
from robustjax.errors import UserError


def indices(source: Source, count: int) -> Sequence[int]:
  """So many images: the first ones, or a fixed random choice of what is by class.

  A folder's images are in the order of their classes, and so may those of a file of
  arrays be: the first thousand would be of few of them. The choice is the same for all
  networks and all times. TFDS shuffles what it prepares, and so is the shipped set.

  Returns:
    Ascending indices.

  Raises:
    UserError: there are not so many.
  """
  return _chosen(source, count, slice(count))


def others(source: Source, count: int) -> Sequence[int]:
  """As `indices`, of the other end: none of both, if there are enough for both."""
  return _chosen(source, count, slice(len(source) - count, None))


def _chosen(source: Source, count: int, part: slice) -> Sequence[int]:
  if count > len(source):
    raise UserError(
      f"{source.name}, split {source.split}, has {len(source)} images, not {count}: ask"
      " for fewer with --images"
    )
  if count == len(source) or not _by_class(source):
    return range(len(source))[part]
  chosen = np.random.default_rng(0).permutation(len(source))[part]
  return [int(i) for i in np.sort(chosen)]


def _by_class(source: Source) -> bool:
  """Whether images of a class follow each other, as far as labels are known unread."""
  if isinstance(source.records, Files):
    return True
  labels = getattr(source.records, "labels", None)
  if labels is None:
    return False
  # Twice as many neighbours of one class as by chance.
  share = np.bincount(labels) / len(labels)
  same = np.mean(labels[1:] == labels[:-1]) if len(labels) > 1 else 0.0
  return bool(same > (1 + np.sum(share**2)) / 2)
