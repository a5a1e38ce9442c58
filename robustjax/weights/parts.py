"""The networks in a PyTorch file, and what of a file is no network.

A checkpoint may hold a network under any prefix, twice (MadryLab's attacker has it
again), or beside another (an average of the weights). A prefix ends where a part of the
name does: no name is searched for a text in its middle.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from robustjax.errors import UserError
from robustjax.weights.layouts import TORCH

Arrays = Mapping[str, np.ndarray]
Key = tuple[str, ...]

_OF_NETWORK = re.compile(r"conv1|bn1|fc|layer[0-9]+")
_COUNT = "num_batches_tracked"

# What training leaves beside a network, by a part of the name.
_OF_TRAINING = {
  re.compile(pattern): why
  for pattern, why in (
    (r"opt|optim(izer)?s?(_states?)?(_dict)?", "state of the optimiser: momentum"),
    (r"(lr_)?schedule(rs?)?(_state)?(_dict)?", "state of the schedule"),
    (r"amp|(amp_)?scaler", "state of mixed precision"),
  )
}
_OF_FD = {
  "EMA": "average of a reading",
  "global_step": "number of the step",
  "learning_rate": "rate of the step",
}
_READING = re.compile(
  r"epoch|step|global_step|lr|metric|loss|(best_|nat_|adv_)?(acc|prec)[0-9]?"
)


class Part(NamedTuple):
  """A network of a file.

  Attributes:
    root: the prefix of its names, without the "." at the end.
    arrays: name behind the prefix -> array.
    twins: other roots that hold the same arrays.
    others: roots of networks that were not chosen.
  """

  root: str
  arrays: Arrays
  twins: Sequence[str]
  others: Sequence[str]

  @property
  def prefix(self) -> str:
    """The root as names begin with it."""
    return f"{self.root}." if self.root else ""


def roots(names: Iterable[str]) -> list[str]:
  """The prefixes behind which names of torchvision's blocks begin, shortest first."""
  found = set()
  for name in names:
    keys = name.split(".")
    for i in range(len(keys)):
      if TORCH.in_block.match(".".join(keys[i:])):
        found.add(".".join(keys[:i]))
        break
  return sorted(found, key=lambda root: (root.count(".") + bool(root), root))


def chosen(arrays: Arrays, part: str | None) -> Part | None:
  """The network that is meant.

  Args:
    arrays: of the file.
    part: a root or what one begins with; "." is the root of a bare state dict.

  Returns:
    The only one, with its twins; None if the file has no block of torchvision's.

  Raises:
    UserError: there are several unlike ones, or not the one that `part` names.
  """
  members = {root: _members(arrays, root) for root in roots(arrays)}
  if not members:
    return None
  wanted = list(members)
  if part is not None:
    at = part.strip(".")
    wanted = [root for root in members if root == at] or [
      root for root in members if _begins(root, _keys(at))
    ]
  if not wanted:
    raise UserError(f"no network under --part={part}: there is {_listed(members)}")
  first, *rest = wanted
  for root in rest:
    if (name := _difference(members[first], members[root])) is not None:
      raise UserError(
        f"{len(rest) + 1} networks, {_listed(wanted)}, which differ first in {name}:"
        f" choose one with --part={first or '.'} or --part={root or '.'}"
      )
  others = [
    root
    for root in members
    if root not in wanted and _difference(members[first], members[root]) is not None
  ]
  twins = [root for root in members if root != first and root not in others]
  return Part(first, members[first], twins, others)


def _begins(name: str, first: Key) -> bool:
  return _keys(name)[: len(first)] == first


def _keys(name: str) -> Key:
  return tuple(name.split(".")) if name else ()


def _members(arrays: Arrays, root: str) -> Arrays:
  prefix = f"{root}." if root else ""
  found = {
    name.removeprefix(prefix): array
    for name, array in arrays.items()
    if name.startswith(prefix)
  }
  return {k: v for k, v in found.items() if _OF_NETWORK.fullmatch(k.split(".")[0])}


def _difference(one: Arrays, other: Arrays) -> str | None:
  """The first name of an array that is not in both, or not the same; counts apart."""
  for name in dict.fromkeys((*one, *other)):
    if name.endswith(f".{_COUNT}"):
      continue
    a, b = one.get(name), other.get(name)
    if a is None or b is None or a.shape != b.shape:
      return name
    if a is not b and a.tobytes() != b.tobytes():
      return name
  return None


def _listed(found: Iterable[str]) -> str:
  return " and ".join(root or "." for root in found)


def no_weight(
  name: str, part: Part, used: Mapping[str, str], array: np.ndarray
) -> str | None:
  """Why an array of a PyTorch file is no weight of the network; None: no reason known.

  Args:
    name: in the file.
    part: the network.
    used: name behind the root -> full name, of the arrays that are weights.
    array: of that name.
  """
  for root in (part.root, *part.twins):
    inner = name.removeprefix(f"{root}.") if root else name
    stem, _, last = inner.rpartition(".")
    if last == _COUNT and f"{stem}.running_mean" in used:
      return "count of batches" if _is_count(array) else None
    if root != part.root and inner in used:
      return f"equal to {used[inner]}"
  if (other := of_another(name, part)) is not None:
    return f"of the network under {other or '.'}, which was not chosen"
  *keys, last = name.split(".")
  for pattern, why in _OF_TRAINING.items():
    if any(map(pattern.fullmatch, keys)):
      return why
  return (
    "a number of the training" if array.size == 1 and _READING.fullmatch(last) else None
  )


def _is_count(array: np.ndarray) -> bool:
  return array.size == 1 and bool(np.isfinite(array).all() and (array >= 0).all())


def of_another(name: str, part: Part) -> str | None:
  """The root of the network, of those not chosen, that an array belongs to."""
  for root in part.others:
    keys = _keys(root)
    apart = [i for i in range(len(keys)) if not _begins(part.root, keys[: i + 1])]
    if apart and _begins(name, keys[: apart[0] + 1]):
      return root
    rest = _keys(name)[len(keys) :]
    if not apart and _begins(name, keys) and rest and _OF_NETWORK.fullmatch(rest[0]):
      return root  # it holds the chosen one
  return None


def reason_of_fd(name: str, names: Iterable[str]) -> str | None:
  """The same of a file of FD, whose names come without ":0"."""
  first, _, _ = name.partition("/")
  stem, _, last = name.rpartition("/")
  if last == "Momentum" and stem in names:
    return f"momentum of {stem}"
  return _OF_FD.get(first)
