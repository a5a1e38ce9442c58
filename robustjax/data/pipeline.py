"""Batches of images: deterministic, sharded over processes, resumable anywhere.

Training data is one endless sequence of positions. A position says which image is
read and how it is augmented, and nothing else does: not the batch size, not the
number of processes or workers, not where a run was resumed. Global batch k is
positions [k * batch_size, (k + 1) * batch_size); process p of n holds the p-th n-th
of it in order, which is what JAX's data sharding expects of it.

A broken image, one that cannot be read or decoded, ends the iteration with its name.
Where it may be skipped, training takes the next readable image of the source in its
place, and evaluation does without; each is named once on stderr, and counted.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import grain
import numpy as np
import numpy.typing as npt
import tqdm
from absl import flags

from robustjax.data import decode, transforms
from robustjax.data.sources import BrokenImage, Source
from robustjax.errors import UserError

Batch = dict[str, npt.NDArray[Any]]
Example = tuple[decode.Image, int]  # and its label

# Four rounds are what Grain's own shuffle uses.
_SHUFFLE_ROUNDS = 4
# Within one process: threads that make batches, and batches made ahead. Decoders
# and Pillow release the interpreter's lock while they work, so a few threads pay.
_THREADS = 4
_AHEAD = 4
_SEEDS = 2**32
# So many broken images in a row are no accident, whether they may be skipped or not.
_STREAK = 100


@dataclasses.dataclass(frozen=True)
class Found:
  """What a row of a batch holds.

  Attributes:
    example: the image, transformed, and its label.
    index: the image's place in the source.
    skipped: how many broken images there were before it; in an evaluation, whether
      the one of this row is.
  """

  example: Example
  index: int
  skipped: int


def record(position: int, n: int, seed: int) -> tuple[int, int]:
  """What is read at a position of the endless training sequence.

  Every epoch is another permutation of all images.

  Args:
    position: 0 and up.
    n: the number of images, at least 1.
    seed: 0..2**32 - 1.

  Returns:
    The epoch, position // n, and the image's index in the source, 0..n - 1.
  """
  epoch, place = divmod(position, n)
  shuffle = int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])
  index = grain.experimental.index_shuffle(
    place, max_index=n - 1, seed=shuffle, rounds=_SHUFFLE_ROUNDS
  )
  return epoch, int(index)


def augmentation_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
  """The randomness of one image's augmentation in one epoch.

  Args:
    seed: 0..2**32 - 1.
    epoch: 0 and up.
    index: the image's index in the source.

  Returns:
    A fresh generator, the same for the same three numbers on every machine.
  """
  key = np.random.SeedSequence((seed, epoch, index), spawn_key=(1,))
  return np.random.Generator(np.random.Philox(key))


def steps_per_epoch(n: int, batch_size: int) -> int:
  """The number of steps counted as one epoch (FD: round(1281167 / batch)).

  Args:
    n: the number of images.
    batch_size: the global batch size in images.

  Returns:
    n / batch_size rounded to the nearest, at least 1.
  """
  return max(1, round(n / batch_size))


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
  if not 0 <= seed < _SEEDS:
    raise UserError(f"the seed is {seed}: choose one from 0 to {_SEEDS - 1}")
  if not 0 <= first_step <= last_step:
    raise UserError(
      f"steps {first_step} to {last_step} are not a range: the first must be at least"
      " 0 and at most the last"
    )
  read = functools.partial(
    _train_batch, source, transform, seed, batch_size, rows, skip_broken
  )
  batches = _run(read, first_step, last_step, workers)
  return _naming_replaced(source, batches) if skip_broken else batches


def evaluation_batches(
  source: Source,
  transform: transforms.Transform,
  *,
  first: int,
  count: int,
  batch_size: int,
  process_index: int = 0,
  process_count: int = 1,
  workers: int = 0,
  skip_broken: bool = False,
) -> Iterator[Batch]:
  """This process's part of the batches of source[first : first + count], in order.

  Over all processes every image has its mask set exactly once, a broken one that is
  skipped excepted. All processes get the same number of batches of the same size, so
  that collectives match.

  Args:
    source: the images.
    transform: `(image) -> image`, to one shape for all images.
    first: the first image, 0..len(source) - 1.
    count: how many images, at least 1.
    batch_size: the global batch size in images.
    process_index: which process this is, 0..process_count - 1.
    process_count: how many processes share a global batch.
    workers: as in `train_batches`.
    skip_broken: whether to go on without a broken image.

  Returns:
    An iterator as of `train_batches`, with "mask", bool [b]: True for an image that
    counts. Where it is False the image and label repeat those of `first`, or of the
    first readable one after it, and "index" is -1, or that of the image if it is
    broken. With `skip_broken` also "skipped", int32 [b]: 1 for a broken image.

  Raises:
    UserError: if a number is impossible or, while iterating, an image is broken.
  """
  rows = _local_rows(batch_size, process_index, process_count)
  if first < 0 or count < 1 or first + count > len(source):
    raise UserError(
      f"images {first} to {first + count - 1} are asked for, but {source.name}, split"
      f" {source.split}, has 0 to {len(source) - 1}: change the first or the count"
    )
  read = functools.partial(
    _evaluation_batch, source, transform, first, count, batch_size, rows, skip_broken
  )
  batches = _run(read, 0, -(-count // batch_size), workers)
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
    epoch, index = record(step * batch_size + row, len(source), seed)

    def read(i: int, epoch: int = epoch) -> Example:
      return _example(source, transform, i, augmentation_rng(seed, epoch, i))

    found.append(_first_readable(read, index, len(source), skip_broken))
  return _without_counts(_stack(found), skip_broken)


def _evaluation_batch(
  source: Source,
  transform: transforms.Transform,
  first: int,
  count: int,
  batch_size: int,
  rows: range,
  skip_broken: bool,
  step: int,
) -> Batch:
  read = functools.partial(_example, source, transform)
  found: list[Found] = []
  padding = None
  for row in rows:
    offset = step * batch_size + row
    index = first + offset if offset < count else -1
    try:
      if index >= 0:
        found.append(Found(read(index), index, 0))
        continue
    except BrokenImage as error:
      if not skip_broken:
        raise _stopping(error) from error
      # Too many in a row: not as this process sees them, which its rows decide.
      _first_readable(read, index, len(source), skip_broken)
    padding = padding or _first_readable(read, first, len(source), skip_broken)
    found.append(Found(padding.example, index, int(index >= 0)))
  batch = _stack(found)
  mask = (batch["index"] >= 0) & (batch["skipped"] == 0)
  return _without_counts(batch, skip_broken) | {"mask": mask}


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
  read = functools.partial(_example, source, transform)
  found = [_first_readable(read, int(i), len(source), skip_broken) for i in indices]
  return _without_counts(_stack(found), skip_broken=False)


def _example(
  source: Source, transform: transforms.Transform, index: int, *rng: np.random.Generator
) -> Example:
  image, label = _read(source, index)
  try:
    return transform(image, *rng), label
  except UserError as error:
    raise UserError(f"{source.at(index)}: {error}") from error


def _read(source: Source, index: int) -> Example:
  example = source[index]
  image, label = example["image"], example["label"]
  if not isinstance(image, bytes):
    return image, label
  try:
    return decode.decode(image, source.image_shape[2]), label
  except ValueError as error:
    reason = " ".join(str(error).split())
    raise BrokenImage(
      f"{source.at(index)}: {reason}; copy or prepare the data set again"
    ) from error


def _first_readable(
  read: Callable[[int], Example], index: int, n: int, skip_broken: bool
) -> Found:
  """The image of an index, or the first after it that is not broken, of n in a ring."""
  for skipped in range(_STREAK):
    here = (index + skipped) % n
    try:
      return Found(read(here), here, skipped)
    except BrokenImage as error:
      if not skip_broken:
        raise _stopping(error) from error
      last = error
  raise _too_many(last) from last


def _stopping(error: BrokenImage) -> UserError:
  """The same with the other remedy. It is no longer one that may be skipped."""
  skip = "or pass over broken images with --config.data.broken_images=skip"
  return UserError(f"{error}, {skip}")


def _too_many(last: BrokenImage) -> UserError:
  return UserError(f"{_STREAK} broken images in a row, the last being {last}")


def _stack(found: Sequence[Found]) -> Batch:
  return {
    "image": np.stack([f.example[0] for f in found]),
    "label": np.array([f.example[1] for f in found], np.int32),
    "index": np.array([f.index for f in found], np.int32),
    "skipped": np.array([f.skipped for f in found], np.int32),
  }


def _without_counts(batch: Batch, skip_broken: bool) -> Batch:
  """Leaves out what is always 0, so that no step computes with it."""
  return batch if skip_broken else {k: v for k, v in batch.items() if k != "skipped"}


def _naming_replaced(source: Source, batches: Iterator[Batch]) -> Iterator[Batch]:
  """The training batches as they are, naming what was passed over."""
  for batch in batches:
    for index, skipped in zip(batch["index"], batch["skipped"], strict=True):
      for back in range(skipped, 0, -1):
        _name(source, int(index - back) % len(source))
    yield batch


def _naming_left_out(source: Source, batches: Iterator[Batch]) -> Iterator[Batch]:
  """The evaluation batches as they are, naming what was left out."""
  for batch in batches:
    for index in batch["index"][batch["skipped"] > 0]:
      _name(source, int(index))
    yield batch


def _name(source: Source, index: int) -> None:
  """Says which image is broken, in this process, where there is a progress bar.

  A worker cannot: it knows nothing of the bar, nor of what others have said.
  """
  try:
    _read(source, index)
    error = BrokenImage(f"{source.at(index)}: it could not be read a moment ago")
  except BrokenImage as raised:
    error = raised
  _say_once(f"skipped: {error}")


@functools.cache  # an image comes round every epoch
def _say_once(line: str) -> None:
  tqdm.tqdm.write(line, file=sys.stderr)


def _run(
  read: Callable[[int], Batch], first: int, last: int, workers: int
) -> Iterator[Batch]:
  """Yields read(first), ..., read(last - 1), made ahead of their use.

  Whole batches are what Grain maps over: worker w of n then makes the batches w,
  w + n, ... and they come back in order. Were batches put together from single
  images in the workers, each would be filled from one worker's images, and the
  number of workers would change what is in a batch.
  """
  if workers < 0:
    raise UserError(f"workers is {workers}: choose 0 or more")
  if workers and not flags.FLAGS.is_parsed():
    raise UserError(
      "data workers need absl's flags parsed: start through absl.app.run, or call"
      " absl.flags.FLAGS.mark_as_parsed() first, or set the workers to 0"
    )
  if first == last:
    return iter(())
  workers = min(workers, last - first)
  threads, ahead = (1, 1) if workers else (_THREADS, _AHEAD)
  batches = (
    grain.MapDataset.range(first, last)
    .map(read)
    .to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead))
  )
  if workers:
    batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
  return _closing(iter(batches))


def _closing(iterator: Any) -> Iterator[Batch]:
  """Ends the iterator's threads and processes when it is left, however it is left."""
  try:
    yield from iterator
  except UserError as error:
    # Grain appends lines about its own traceback to the message.
    raise UserError(str(error).splitlines()[0]) from error
  finally:
    iterator.close()
