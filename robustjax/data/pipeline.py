"""Batches of images: deterministic, sharded over processes, resumable anywhere.

What is in a batch of training follows from its positions alone (see `order`), and
what becomes of a broken image is said in `examples`.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from robustjax.data import examples, order, transforms
from robustjax.data.examples import Example
from robustjax.data.sources import BrokenImage, Source
from robustjax.data.workers import prefetched
from robustjax.errors import UserError

Batch = dict[str, npt.NDArray[Any]]


def train_batches(
  source: Source,
  transform: transforms.Transform,
  *,
  seed: int,
  batch_size: int,
  first_step: int,
  last_step: int,
  process_index: int = 0,
  process_count: int = 1,
  workers: int = 0,
  skip_broken: bool = False,
) -> Iterator[Batch]:
  """This process's part of the training batches first_step..last_step - 1.

  Starting at a late step costs nothing: no earlier image is touched.

  Args:
    source: the images.
    transform: `(image, rng) -> image`, to one shape for all images.
    seed: 0..2**32 - 1; decides the order and the augmentation.
    batch_size: the global batch size in images.
    first_step: the step of the first batch, 0 and up.
    last_step: the step after that of the last batch.
    process_index: which process this is, 0..process_count - 1.
    process_count: how many processes share a global batch.
    workers: processes that make batches; 0 makes them in threads of this one.
      Workers want absl's flags parsed, as `absl.app.run` does.
    skip_broken: whether the image after a broken one, with its own augmentation,
      takes its place; like everything else, that follows from the position alone.

  Returns:
    An iterator of "image", uint8 [b, height, width, channels], "label", int32 [b],
    and "index", int32 [b], the place in the source, where b is batch_size /
    process_count. With `skip_broken` also "skipped", int32 [b]: how many broken
    images were passed over. Close it, if it is left early, to end its workers.

  Raises:
    UserError: if a number is impossible or, while iterating, an image is broken.
  """
  rows = _local_rows(batch_size, process_index, process_count)
  if len(source) == 0:
    raise UserError(f"{source.name}, split {source.split}, is empty: use another split")
  if not 0 <= seed < order.SEEDS:
    raise UserError(f"the seed is {seed}: choose one from 0 to {order.SEEDS - 1}")
  if not 0 <= first_step <= last_step:
    raise UserError(
      f"steps {first_step} to {last_step} are not a range: the first must be at least"
      " 0 and at most the last"
    )
  make = functools.partial(
    _train_batch, source, transform, seed, batch_size, rows, skip_broken
  )
  batches = prefetched(make, first_step, last_step, workers)
  return _naming_replaced(source, batches) if skip_broken else batches


def evaluation_batches(
  source: Source,
  transform: transforms.Transform,
  *,
  indices: Sequence[int],
  batch_size: int,
  process_index: int = 0,
  process_count: int = 1,
  workers: int = 0,
  skip_broken: bool = False,
) -> Iterator[Batch]:
  """This process's part of the batches of some images of a source, in order.

  Over all processes every image has its mask set exactly once, a broken one that is
  skipped excepted. All processes get the same number of batches of the same size, so
  that collectives match.

  Args:
    source: the images.
    transform: `(image) -> image`, to one shape for all images.
    indices: which images, at least 1; a range for those that follow each other.
    batch_size: the global batch size in images.
    process_index: which process this is, 0..process_count - 1.
    process_count: how many processes share a global batch.
    workers: as in `train_batches`.
    skip_broken: whether to go on without a broken image.

  Returns:
    An iterator as of `train_batches`, with "mask", bool [b]: True for an image that
    counts. Where it is False the image and label repeat the first ones, or those of
    the first readable image after it, and "index" is -1, or that of the image if it
    is broken. With `skip_broken` also "skipped", int32 [b]: 1 for a broken image.

  Raises:
    UserError: if a number is impossible or, while iterating, an image is broken.
  """
  rows = _local_rows(batch_size, process_index, process_count)
  low, high = min(indices, default=-1), max(indices, default=-1)
  if low < 0 or high >= len(source):
    raise UserError(
      f"images {low} to {high} are asked for, but {source.name}, split {source.split},"
      f" has 0 to {len(source) - 1}: ask for others, or for fewer"
    )
  make = functools.partial(
    _evaluation_batch, source, transform, indices, batch_size, rows, skip_broken
  )
  batches = prefetched(make, 0, -(-len(indices) // batch_size), workers)
  return _naming_left_out(source, batches) if skip_broken else batches


def _local_rows(batch_size: int, process_index: int, process_count: int) -> range:
  """The rows of a global batch that a process holds."""
  if batch_size < 1 or process_count < 1 or batch_size % process_count:
    raise UserError(
      f"a batch of {batch_size} cannot be shared by {process_count} processes: choose"
      " a multiple of their number"
    )
  if not 0 <= process_index < process_count:
    raise UserError(
      f"process {process_index} is not one of 0..{process_count - 1}: count from 0"
    )
  size = batch_size // process_count
  return range(process_index * size, (process_index + 1) * size)


def _train_batch(
  source: Source,
  transform: transforms.Transform,
  seed: int,
  batch_size: int,
  rows: range,
  skip_broken: bool,
  step: int,
) -> Batch:
  found = []
  for row in rows:
    epoch, index = order.record(step * batch_size + row, len(source), seed)

    def read(i: int, epoch: int = epoch) -> Example:
      rng = order.augmentation_rng(seed, epoch, i)
      return examples.read(source, transform, i, rng)

    found.append(examples.first_readable(read, index, len(source), skip_broken))
  return _stack(found, skip_broken)


def _evaluation_batch(
  source: Source,
  transform: transforms.Transform,
  indices: Sequence[int],
  batch_size: int,
  rows: range,
  skip_broken: bool,
  step: int,
) -> Batch:
  read = functools.partial(examples.read, source, transform)
  found: list[Example] = []
  padding = None
  for row in rows:
    offset = step * batch_size + row
    index = indices[offset] if offset < len(indices) else -1
    try:
      if index >= 0:
        found.append(read(index))
        continue
    except BrokenImage as error:
      if not skip_broken:
        raise examples.unskipped(error) from error
      # Too many in a row: not as this process sees them, which its rows decide.
      examples.first_readable(read, index, len(source), skip_broken)
    if padding is None:
      padding = examples.first_readable(read, indices[0], len(source), skip_broken)
    found.append(dataclasses.replace(padding, index=index, skipped=int(index >= 0)))
  mask = np.array([one.index >= 0 and not one.skipped for one in found])
  return _stack(found, skip_broken) | {"mask": mask}


def batch_of(
  source: Source,
  transform: transforms.Transform,
  indices: Iterable[int],
  skip_broken: bool = False,
) -> Batch:
  """Some images of a source, for a look at them.

  Args:
    source: where they are.
    transform: of the evaluation.
    indices: which ones, n of them.
    skip_broken: whether the next readable image takes the place of a broken one.

  Returns:
    {"image": [n, h, w, c] uint8, "label": [n] int32, "index": [n] int32}.

  Raises:
    UserError: an image is broken.
  """
  read = functools.partial(examples.read, source, transform)
  found = [
    examples.first_readable(read, int(i), len(source), skip_broken) for i in indices
  ]
  return _stack(found, with_skipped=False)


def _stack(found: Sequence[Example], with_skipped: bool) -> Batch:
  """A batch; "skipped" is left out where it is 0, and no step computes with it."""
  batch: Batch = {
    "image": np.stack([one.image for one in found]),
    "label": np.array([one.label for one in found], np.int32),
    "index": np.array([one.index for one in found], np.int32),
  }
  if with_skipped:
    batch["skipped"] = np.array([one.skipped for one in found], np.int32)
  return batch


def _naming_replaced(source: Source, batches: Iterator[Batch]) -> Iterator[Batch]:
  """The training batches as they are, naming what was passed over."""
  for batch in batches:
    for index, skipped in zip(batch["index"], batch["skipped"], strict=True):
      for back in range(skipped, 0, -1):
        examples.name_broken(source, int(index - back) % len(source))
    yield batch


def _naming_left_out(source: Source, batches: Iterator[Batch]) -> Iterator[Batch]:
  """The evaluation batches as they are, naming what was left out."""
  for batch in batches:
    for index in batch["index"][batch["skipped"] > 0]:
      examples.name_broken(source, int(index))
    yield batch
