"""One measurement of benchmarks/data_pipeline.py, in a process on a core of its own.

    python -m benchmarks.data_measure MODULE LOADER FOLDER SECONDS CORE

MODULE is "ours", "tf" or "torch", LOADER a name in its LOADERS, and FOLDER what
`benchmarks.photographs.write` filled. Prints the versions of the libraries once they
are imported, and then how many images a second came through. It imports nothing that
the loader does not need: the Python that runs it may lack the rest.
"""

import importlib
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import numpy as np

BATCH = 32
SIZE, RESIZE = 224, 256
# The principal colours of ImageNet, as robustjax has them.
EIGENVALUES = 255.0 * np.array([0.2175, 0.0188, 0.0045], np.float32)
EIGENVECTORS = np.array(
  [
    [-0.5675, 0.7192, 0.4009],
    [-0.5808, -0.0045, -0.8140],
    [-0.5836, -0.6948, 0.4203],
  ],
  np.float32,
)

# Threads make batches at the same time and hand them over one after the other, so that
# only rounds of so many batches are counted.
_ROUND = 4


def measure(batches: Iterator[Any], seconds: float) -> float:
  """Images a second, over at least this many seconds, after a round to warm up."""

  def finish_a_round() -> None:
    for _ in range(_ROUND):
      next(batches)

  finish_a_round()
  start, images, spent = time.perf_counter(), 0, 0.0
  while spent < seconds:
    finish_a_round()
    images += _ROUND * BATCH
    spent = time.perf_counter() - start
  return images / spent


def main() -> None:
  """The command line; see the module's docstring."""
  module_name, loader, folder, seconds, core = sys.argv[1:]
  os.sched_setaffinity(0, {int(core)})
  module = importlib.import_module(f"benchmarks.loaders_{module_name}")
  versions = (f"{name} {metadata.version(name)}" for name in module.PACKAGES)
  print(", ".join(versions), flush=True)
  batches = module.LOADERS[loader](pathlib.Path(folder))
  print(measure(batches, float(seconds)), flush=True)
  if hasattr(batches, "close"):
    batches.close()


if __name__ == "__main__":
  main()
