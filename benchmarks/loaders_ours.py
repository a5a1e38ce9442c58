"""robustjax's data pipeline, whole and in parts, for benchmarks/data_pipeline.py."""

import functools
import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from absl import flags

from benchmarks.data_measure import BATCH, SIZE
from robustjax.data import order, pipeline, sources, transforms
from robustjax.data.decode import decode

PACKAGES = ("grain", "simplejpeg", "pillow", "numpy")


def _open(folder: pathlib.Path) -> sources.Source:
  return sources.open_source("photographs", split="train", data_dir=folder / "tfds")


def train(folder: pathlib.Path, workers: int = 0) -> Iterator[Any]:
  """Batches of the training pipeline."""
  flags.FLAGS.mark_as_parsed()  # Grain's workers want it
  return pipeline.train_batches(
    _open(folder),
    transforms.by_name("imagenet", True, SIZE),
    seed=0,
    batch_size=BATCH,
    first_step=0,
    last_step=10**6,
    workers=workers,
  )


def evaluation(folder: pathlib.Path) -> Iterator[Any]:
  """Batches of the evaluation pipeline, from the start again at the end."""
  source, transform = _open(folder), transforms.by_name("imagenet", False, SIZE)
  count = len(source) // BATCH * BATCH
  return itertools.chain.from_iterable(
    pipeline.evaluation_batches(
      source, transform, indices=range(count), batch_size=BATCH
    )
    for _ in itertools.count()
  )


def part(name: str, folder: pathlib.Path) -> Iterator[Any]:
  """A part of the pipeline alone, in one thread, on the same images again and again."""
  parts: dict[str, Callable[[int, Any], Any]] = {
    "read": lambda i, _: source[i],
    "decode": lambda i, encoded: decode(encoded, 3),
    "augment": lambda i, image: transforms.imagenet_train(
      image, order.augmentation_rng(0, 0, i)
    ),
    "crop": lambda i, image: transforms.imagenet_eval(image),
  }
  source = _open(folder)
  inputs: list[Any] = [source[i]["image"] for i in range(BATCH)]
  if name in ("augment", "crop"):
    inputs = [decode(encoded, 3) for encoded in inputs]
  while True:
    yield [parts[name](i, x) for i, x in enumerate(inputs)]


LOADERS = {
  "train": train,
  "train_worker": functools.partial(train, workers=1),
  "evaluation": evaluation,
  **{
    name: functools.partial(part, name)
    for name in ("read", "decode", "augment", "crop")
  },
}
