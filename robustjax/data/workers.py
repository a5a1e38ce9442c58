"""Batches made ahead of their use, in threads or in worker processes.

Workers hear no signals, which are for the run that they serve, and end with it. One
that is killed or stopped is named, and ends the run with a line.
"""

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import grain
import tqdm
from absl import flags

from robustjax.errors import UserError

Batch = TypeVar("Batch")

# Within one process: threads that make batches, and batches made ahead. Decoders
# and Pillow release the interpreter's lock while they work, so a few threads pay.
_THREADS = 4
_AHEAD = 4

_PATIENCE = 20  # seconds without a batch until somebody looks at the workers


class WorkerLost(UserError):
  """A worker process was killed or stopped; the batches so far are whole."""


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
  if not workers:
    return _closing(iter(batches))
  serve = functools.partial(_serve, os.getpid())
  options = grain.MultiprocessingOptions(num_workers=workers)
  return _closing(_watched(iter(batches.mp_prefetch(options, worker_init_fn=serve))))


def _serve(run: int, *_: int) -> None:
  """What a worker begins with: it hears no signal, and ends with the run."""
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
  threading.Thread(target=_end_with, args=[run], daemon=True).start()


def _end_with(run: int) -> None:
  # Linux can send a signal instead, but when the thread that started this one ends.
  while os.getppid() == run:
    time.sleep(1)
  os._exit(1)


class _watched:  # noqa: N801 - an iterator, as `map` is
  """Batches of workers; while one is long in coming, their state is looked at."""

  def __init__(self, iterator: Any):
    self._iterator = iterator
    self._lost = ""

  def __iter__(self) -> "_watched":
    return self

  def __next__(self) -> Any:
    came = threading.Event()
    watch = threading.Thread(target=self._watch, args=[came], daemon=True)
    watch.start()
    try:
      return next(self._iterator)
    except RuntimeError as error:
      if "terminated unexpectedly" not in str(error):
        raise
      what = self._lost or "a data worker was killed, as by the system for its memory"
      raise WorkerLost(
        f"{what}: start again, with fewer config.data.workers if it happens again"
      ) from error
    finally:
      came.set()

  def close(self) -> None:
    self._iterator.close()

  def _watch(self, came: threading.Event) -> None:
    waited = 0
    while not came.wait(_PATIENCE):
      waited += _PATIENCE
      workers = multiprocessing.active_children()
      stopped = [worker for worker in workers if _is_stopped(worker.pid)]
      if stopped and waited > _PATIENCE:
        names = ", ".join(str(worker.pid) for worker in stopped)
        self._lost = f"data worker {names} was stopped by a signal for {waited} s"
        for worker in stopped:
          worker.kill()
        return
      what = f"waiting for images for {waited} s: "
      if stopped:
        what += f"worker {stopped[0].pid} is stopped (kill -CONT {stopped[0].pid})"
      else:
        what += f"{len(workers)} workers are at work"
      with contextlib.suppress(OSError):
        tqdm.tqdm.write(what, file=sys.stderr, nolock=True)


def _is_stopped(pid: int | None) -> bool:
  """Whether a process hears nothing until it is told to go on (Linux)."""
  with contextlib.suppress(OSError, IndexError):
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state in "Tt"
  return False


def _closing(iterator: Any) -> Iterator[Any]:
  """Ends the iterator's threads and processes when it is left, however it is left."""
  try:
    yield from iterator
  except UserError as error:
    # Grain appends lines about its own traceback to the message.
    raise type(error)(str(error).splitlines()[0]) from error
  finally:
    iterator.close()
