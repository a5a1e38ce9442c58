"""Batches made ahead of their use, in threads or in worker processes."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grain
from absl import flags

from robustjax.errors import UserError

Batch = TypeVar("Batch")

# Within one process: threads that make batches, and batches made ahead. Decoders
# and Pillow release the interpreter's lock while they work, so a few threads pay.
_THREADS = 4
_AHEAD = 4


def prefetched(
  make: Callable[[int], Batch], first: int, last: int, workers: int
) -> Iterator[Batch]:
  """Yields make(first), ..., make(last - 1), made ahead of their use.

  Whole batches are what Grain maps over: worker w of n then makes the batches w,
  w + n, ... and they come back in order. Were batches put together from single
  images in the workers, each would be filled from one worker's images, and the
  number of workers would change what is in a batch.

  Args:
    make: step -> batch; it can be pickled.
    first: 0 and up.
    last: one after the last.
    workers: processes that make batches; 0 makes them in threads of this one.

  Raises:
    UserError: `workers` is negative, or absl's flags are not parsed, which Grain's
      workers read.
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
    .map(make)
    .to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead))
  )
  if workers:
    batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
  return _closing(iter(batches))


def _closing(iterator: Any) -> Iterator[Any]:
  """Ends the iterator's threads and processes when it is left, however it is left."""
  try:
    yield from iterator
  except UserError as error:
    # Grain appends lines about its own traceback to the message.
    raise UserError(str(error).splitlines()[0]) from error
  finally:
    iterator.close()
