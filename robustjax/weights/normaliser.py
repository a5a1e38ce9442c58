"""The normaliser that a wrapper of a PyTorch network holds, in whoever's names."""

from typing import NamedTuple

import numpy as np

from robustjax.errors import UserError
from robustjax.weights import parts
from robustjax.weights.parts import Arrays, Part

# Their names for the mean and the standard deviation of the images.
_NORMALISERS = {"mean": "std", "new_mean": "new_std", "mu": "sigma", "means": "sds"}


class Normaliser(NamedTuple):
  """Mean and standard deviation of pixels of 0..1, and where the file has them."""

  mean: tuple[float, ...]
  std: tuple[float, ...]
  names: tuple[str, str]


def find(
  arrays: Arrays, part: Part, channels: int
) -> tuple[Normaliser | None, dict[str, str]]:
  """What a network's wrapper does to its images.

  Args:
    arrays: of the file.
    part: the network.
    channels: of an image.

  Returns:
    The normaliser, if the file has one, and the names of its arrays, each with why it
    is not needed, or "" for the two that are.

  Raises:
    UserError: two that differ, one without its half, or implausible values.
  """
  first: Normaliser | None = None
  seen: dict[str, str] = {}
  for name, array in arrays.items():
    *keys, last = name.split(".")
    if last not in _NORMALISERS or array.size not in (1, channels):
      continue
    if not _wraps(keys, part) or parts.of_another(name, part) is not None:
      continue
    half = ".".join((*keys, _NORMALISERS[last]))
    if half not in arrays or arrays[half].shape != array.shape:
      raise UserError(f"{name} {list(array.shape)} without a {half} of that shape")
    found = Normaliser(_decimal(array), _decimal(arrays[half]), (name, half))
    first = first or found
    if found[:2] != first[:2]:
      raise UserError(
        f"two normalisers that differ, {first.names[0]} {first.mean} and {name}"
        f" {found.mean}: which is meant cannot be told"
      )
    for one, known in zip(found.names, first.names, strict=True):
      seen[one] = "" if one == known else f"equal to {known}"
  if first and not _plausible(first):
    raise UserError(
      f"{first.names[0]} is {first.mean} with a standard deviation of {first.std}:"
      " implausible for pixels of 0..1"
    )
  return first, seen


def _wraps(module: list[str], part: Part) -> bool:
  """Whether a module, or what holds it, also holds the network."""
  for root in (part.root, *part.twins):
    keys = root.split(".") if root else []
    if keys[: len(module)] == module or keys[: len(module) - 1] == module[:-1]:
      return True
  return False


def _decimal(array: np.ndarray) -> tuple[float, ...]:
  """The shortest decimals of float32's numbers: 0.485, not 0.48500001430511475."""
  return tuple(float(str(x)) for x in array.astype(np.float32).reshape(-1))


def _plausible(found: Normaliser) -> bool:
  return all(0 <= x <= 1 for x in found.mean) and all(0 < x <= 1 for x in found.std)
