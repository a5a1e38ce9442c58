"""Single examples: read, decoded, transformed; and what takes a broken one's place.

A broken image, one that cannot be read or decoded, ends the iteration with its name.
Where it may be skipped, training takes the next readable image of the source in its
place, and evaluation does without; each is named once on stderr, and counted.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable

import numpy as np
import tqdm

from robustjax.data import decode, transforms
from robustjax.data.sources import BrokenImage, Source
from robustjax.errors import UserError

# So many broken images in a row are no accident, whether they may be skipped or not.
_STREAK = 100


@dataclasses.dataclass(frozen=True)
class Example:
  """What a row of a batch holds.

  Attributes:
    image: transformed.
    label: its class.
    index: the image's place in the source.
    skipped: how many broken images there were before it; in an evaluation, whether
      the one of this row is.
  """

  image: decode.Image
  label: int
  index: int
  skipped: int = 0


def read(
  source: Source, transform: transforms.Transform, index: int, *rng: np.random.Generator
) -> Example:
  """The example of an index.

  Args:
    source: where it is.
    transform: of training, with `rng`, or of the evaluation, without.
    index: 0..len(source) - 1.
    *rng: the randomness of this image in this epoch, or nothing.

  Raises:
    BrokenImage: it cannot be read or decoded.
    UserError: it is none for this transform, or has no label.
  """
  image, label = _decoded(source, index)
  try:
    return Example(transform(image, *rng), label, index)
  except UserError as error:
    raise UserError(f"{source.at(index)}: {error}") from error


def first_readable(
  example_at: Callable[[int], Example], index: int, n: int, skip_broken: bool
) -> Example:
  """The image of an index, or the first after it that is not broken, of n in a ring.

  Args:
    example_at: index -> example.
    index: 0..n - 1.
    n: the number of images.
    skip_broken: whether to go on after a broken one.

  Raises:
    UserError: an image is broken, or where they are skipped too many in a row.
  """
  for skipped in range(_STREAK):
    try:
      return dataclasses.replace(example_at((index + skipped) % n), skipped=skipped)
    except BrokenImage as error:
      if not skip_broken:
        raise unskipped(error) from error
      last = error
  raise UserError(f"{_STREAK} broken images in a row, the last being {last}") from last


def unskipped(error: BrokenImage) -> UserError:
  """The same with the other remedy. It is no longer one that may be skipped."""
  skip = "or pass over broken images with --config.data.broken_images=skip"
  return UserError(f"{error}, {skip}")


def name_broken(source: Source, index: int) -> None:
  """Says which image is broken, in this process, where there is a progress bar.

  A worker cannot: it knows nothing of the bar, nor of what others have told.
  """
  try:
    _decoded(source, index)
    error = BrokenImage(f"{source.at(index)}: it could not be read a moment ago")
  except BrokenImage as raised:
    error = raised
  _warn_once(f"skipped: {error}")


@functools.cache  # an image comes round every epoch
def _warn_once(line: str) -> None:
  tqdm.tqdm.write(line, file=sys.stderr)


def _decoded(source: Source, index: int) -> tuple[decode.Image, int]:
  record = source[index]
  image, label = record["image"], record["label"]
  if not isinstance(image, bytes):
    return image, label
  try:
    return decode.decode(image, source.image_shape[2], source.oriented), label
  except ValueError as error:
    reason = " ".join(str(error).split())
    raise BrokenImage(
      f"{source.at(index)}: {reason}; copy or prepare the data set again"
    ) from error
