"""What `make bench` compares with PyTorch, and what two processes exchange about it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Case:
  """One comparison.

  Attributes:
    title: what is measured, for the table.
    kind: steps of PGD; whole training steps; or a batch's evaluation.
    experiment: in experiments/.
    variant: behind its colon.
    changes: dotted names of the configuration -> values.
    images: in a batch.
    steps: of the attack, where the configuration does not say how many.
  """

  title: str
  kind: Literal["pgd", "train", "evaluation"]
  experiment: str
  variant: str
  changes: Mapping[str, Any]
  images: int
  steps: int = 0

  @property
  def unit(self) -> str:
    """Of its speed."""
    return "images/s" if self.kind == "train" else "images x steps/s"


# torchvision's ResNet-50: padded as PyTorch does, which costs PyTorch no copies.
_RESNET50: Mapping[str, Any] = {
  "model.depth": 50,
  "model.padding": "symmetric",
  "model.dtype": "float32",
  "model.scan": False,
  "model.remat": "none",
}


def _resnet50(side: int, images: int, steps: int) -> Case:
  title = f"PGD step of ResNet-50, {images} images of {side} px"
  sides = {"data.image_size": side, "data.resize": side * 256 // 224}
  return Case(title, "pgd", "adv", "", {**_RESNET50, **sides}, images, steps)


def _demo(kind: Literal["pgd", "train", "evaluation"], title: str, images: int) -> Case:
  return Case(title, kind, "mbn_alp", "mini", {}, images, 20 if kind == "pgd" else 0)


CASES: Mapping[str, Case] = {
  "resnet50_64": _resnet50(64, 32, 2),
  "resnet50_224": _resnet50(224, 8, 1),
  "demo_pgd": _demo("pgd", "PGD step of the demo's network, 64 images", 64),
  "demo_train": _demo(
    "train", "training step of the demo (MBN, ALP, PGD-7), 64 images", 64
  ),
  "demo_evaluation": _demo(
    "evaluation", "evaluation of the demo (PGD-10 to -100), 200 images", 200
  ),
}


def flat(tree: Mapping[str, Any], path: str = "") -> Arrays:
  """Nested dicts of arrays as one, names joined by slashes."""
  found: Arrays = {}
  for name, value in tree.items():
    if isinstance(value, Mapping):
      found |= flat(value, f"{path}{name}/")
    else:
      found[path + name] = np.asarray(value)
  return found


def nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
  """`flat` undone."""
  tree: dict[str, Any] = {}
  for name, value in arrays.items():
    *folders, leaf = name.split("/")
    inside = tree
    for folder in folders:
      inside = inside.setdefault(folder, {})
    inside[leaf] = value
  return tree


def lively(variables: Mapping[str, Any]) -> dict[str, Any]:
  """Variables of which none is 0 or 1, as norms begin, so that all of them matter."""
  rng = np.random.default_rng(0)
  arrays = flat(variables)
  for name, array in arrays.items():
    if array.ndim == 1:
      ranges = {"scale": (0.2, 0.8), "var": (0.5, 1.5)}
      low, high = ranges.get(name.rpartition("/")[2], (-0.1, 0.1))
      arrays[name] = rng.uniform(low, high, array.shape).astype(np.float32)
  return nested(arrays)


def save(folder: Path, what: str, tree: Mapping[str, Any]) -> None:
  """Writes nested dicts of arrays for the other process."""
  np.savez(folder / f"{what}.npz", **flat(tree))  # type: ignore[arg-type]


def load(folder: Path, what: str) -> dict[str, Any]:
  """Reads what `save` wrote."""
  with np.load(folder / f"{what}.npz") as arrays:
    return nested(arrays)
