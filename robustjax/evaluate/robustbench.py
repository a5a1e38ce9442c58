"""RobustBench's entry of a standard evaluation, as its model_info/ has one a network.

Its leaderboards count all test images of CIFAR, and 5,000 of ImageNet: give its file
imagenet_test_image_ids.txt to --ids. Who made the network, and how, people write in.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustjax.errors import UserError
from robustjax.runtime import files

# The fields in RobustBench's order; what people write in is null.
_EMPTY: dict[str, Any] = {
  "link": None,
  "name": None,
  "authors": None,
  "additional_data": None,
  "number_forward_passes": 1,
  "dataset": None,
  "venue": None,
  "architecture": None,
  "eps": None,
  "clean_acc": None,
  "reported": None,
  "autoattack_acc": None,
  "footnote": None,
}
_OF_ALL = {"dataset", "clean_acc"}
_DATASETS = {"imagenet2012": "imagenet"}  # TFDS's name -> RobustBench's


def check(
  path: Path, attack: str, branch: str, attack_branch: str, more: bool = False
) -> None:
  """Finds before an evaluation what `write` could not do after it.

  Args:
    path: of the entry.
    attack: as it was asked for.
    branch: whose predictions count.
    attack_branch: which one is attacked.
    more: whether there are other pairs of branches.

  Raises:
    UserError: it is not AutoAttack against the network that it counts for, or the file
      cannot be written or is another one.
  """
  if attack.strip() != "standard":
    raise UserError(
      f"--robustbench={path} is for --attack=standard, and not {attack}: RobustBench"
      " counts AutoAttack with its constants alone"
    )
  if more:
    raise UserError(f"--robustbench={path} is for one branch: name one with --branch")
  if branch != attack_branch:
    raise UserError(
      f"--robustbench={path} is for a network that is attacked itself, and branch"
      f" {branch} is attacked through {attack_branch}: leave --attack_branch out"
    )
  _before(path)
  with contextlib.suppress(OSError):
    path.parent.mkdir(parents=True, exist_ok=True)
  folder = path.parent
  if path.is_dir() or not (folder.is_dir() and os.access(folder, os.W_OK)):
    raise UserError(f"{path} cannot be written: name another file with --robustbench")


def write(path: Path, summary: Mapping[str, Any]) -> None:
  """Writes the entry; what a file that is there says besides stays in it.

  Args:
    path: RobustBench's are model_info/<dataset>/<Linf or L2>/<name>.json.
    summary: what summary.json holds.

  Raises:
    UserError: as `check` does.
  """
  identity, images = summary["identity"], summary["images"]
  branches = identity["branch"], identity["attack_branch"]
  check(path, identity["attack"], *branches)
  found = {
    "dataset": _dataset(identity["data"]),
    "eps": _eps(identity["norm"], identity["eps"]),
    "clean_acc": f"{100 * summary['clean'] / images:.2f}",
    "autoattack_acc": f"{100 * summary['robust'] / images:.2f}",
  }
  if summary["skipped"]:
    found["footnote"] = f"without {summary['skipped']} images that cannot be read"
  known = {name: value for name, value in found.items() if value is not None}
  entry = _EMPTY | _before(path) | known
  files.write_text(path, json.dumps(entry, indent=2) + "\n")


def _before(path: Path) -> dict[str, Any]:
  """What the file says already."""
  if not path.exists() or path.is_dir():
    return {}
  entry: dict[str, Any] = {}
  with contextlib.suppress(OSError, UserError):
    entry = files.read_json(path)
  if not entry.keys() >= _OF_ALL:
    raise UserError(
      f"{path} is there and no entry of RobustBench: name another file with"
      " --robustbench"
    )
  return entry


def _dataset(data: str) -> str | None:
  """RobustBench's name of "imagenet2012:5.1.0"; a path says nothing."""
  if "/" in data or ".npz:" in data or data[:1] in (".", "~"):
    return None
  name = data.partition(":")[0]
  return _DATASETS.get(name, name)


def _eps(norm: str, eps: float) -> str:
  """In its units: "4/255" for L-infinity, for L2 the distance of pixels in 0..1."""
  return f"{eps:g}/255" if norm == "linf" else f"{eps / 255:.6g}"
