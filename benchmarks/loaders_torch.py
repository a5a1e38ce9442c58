"""torchvision's transforms behind PyTorch's loader, for benchmarks/data_pipeline.py."""

import functools
import itertools
import pathlib
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.data_measure import BATCH, EIGENVALUES, EIGENVECTORS, RESIZE, SIZE

try:
  import torchvision
except RuntimeError:
  # A torchvision built for another torch does not load its operators, and its import
  # fails for want of these two.
  OPERATORS = torch.library.Library("torchvision", "DEF")
  for operator in ("nms", "qnms"):
    OPERATORS.define(f"{operator}(Tensor a, Tensor b, float c) -> Tensor")
  import torchvision

PACKAGES = ("torch", "torchvision", "pillow")


def _lighting(image: torch.Tensor) -> torch.Tensor:
  """The colour noise, of [3, height, width], that torchvision has no transform for."""
  strength = 0.1 * torch.randn(3) * torch.from_numpy(EIGENVALUES)
  colour = torch.from_numpy(EIGENVECTORS) @ strength
  return (image + colour[:, None, None]).clamp_(0, 255).round_().to(torch.uint8)


def load(train: bool, folder: pathlib.Path, workers: int = 0) -> Iterator[Any]:
  """Batches from a folder of images.

  Args:
    train: whether to augment, or to take the evaluation crop.
    folder: as `benchmarks.photographs.write` fills it.
    workers: processes that make batches; 0 makes them in this one.

  Returns:
    Endless pairs of images, uint8 [BATCH, 3, SIZE, SIZE], and labels.
  """
  torch.set_num_threads(1)
  t = torchvision.transforms
  bicubic = t.InterpolationMode.BICUBIC
  steps = [t.Resize(RESIZE, bicubic), t.CenterCrop(SIZE), t.PILToTensor()]
  if train:
    steps = [
      t.RandomResizedCrop(SIZE, (0.08, 1.0), (3 / 4, 4 / 3), bicubic),
      t.ColorJitter(0.4, 0.4, 0.4),
      t.RandomHorizontalFlip(),
      t.PILToTensor(),
      _lighting,
    ]
  images = torchvision.datasets.ImageFolder(str(folder / "images"), t.Compose(steps))
  loader = torch.utils.data.DataLoader(
    images,
    BATCH,
    shuffle=train,
    num_workers=workers,
    persistent_workers=workers > 0,
    drop_last=True,
  )
  return itertools.chain.from_iterable(loader for _ in itertools.count())


LOADERS = {
  "train": functools.partial(load, True),
  "train_worker": functools.partial(load, True, workers=1),
  "evaluation": functools.partial(load, False),
}
