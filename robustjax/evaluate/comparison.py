"""Evaluations compared image by image, for a terminal."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from robustjax.errors import UserError
from robustjax.evaluation import ledger as ledgers
from robustjax.report import paired
from robustjax.report.checked import Damaged
from robustjax.report.paired import Ledger
from robustjax.report.table import align


def text(folders: Sequence[Path]) -> str:
  """Each evaluation's counts, and each pair's images that one alone got right.

  Where the evaluations are of one network, also what their attacks break together.

  Args:
    folders: at least two, of evaluations of the same images.

  Raises:
    UserError: a folder holds no ledger or a damaged one, or one of other images.
  """
  if len(folders) < 2:
    raise UserError("name two folders of evaluations or more behind --compare")
  read = {str(folder): _read(folder) for folder in folders}
  rows: list[Sequence[str]] = [("evaluation", "images", "clean", "robust")]
  for name, ledger in read.items():
    clean = sum(image.clean for image in ledger.values())
    robust = sum(image.robust for image in ledger.values())
    rows.append((name, str(len(ledger)), str(clean), str(robust)))
  parts = [align(rows, right=range(1, 4))]
  parts += [_pair(*names, read) for names in itertools.combinations(read, 2)]
  parts += _together(read)
  return "\n\n".join(parts)


def _read(folder: Path) -> Ledger:
  path = folder / ledgers.IMAGES
  if not path.is_file():
    raise UserError(f"{folder} is not the folder of an evaluation: it has no {path}")
  try:
    ledger = paired.read_ledger(path)
  except Damaged as error:
    raise UserError(f"{path}: {error}") from error
  if not ledger:
    raise UserError(f"{path} holds no image yet: let its evaluation end")
  return ledger


def _pair(one: str, other: str, read: dict[str, Ledger]) -> str:
  """What McNemar's test says of two networks on the same images."""
  try:
    pair = paired.mcnemar(read[one], read[other])
  except UserError as error:
    raise UserError(f"{one} and {other}: {error}") from error
  low, high = pair.interval
  return (
    f"{one}\n  against {other}:\n"
    f"  robust in both {pair.both}, in the first alone {pair.one}, in the second alone"
    f" {pair.other}, of {pair.images}\n"
    f"  {100 * pair.difference:+.1f} points (95 %: {100 * low:+.1f} to"
    f" {100 * high:+.1f}), p = {pair.p:.2g} (McNemar, exact)"
  )


def _together(read: dict[str, Ledger]) -> list[str]:
  """The union of the attacks, if the clean predictions are one network's."""
  try:
    union, gains = paired.union(list(read.values())), paired.gain(list(read.values()))
  except UserError:
    return []
  left = sum(image.robust for image in union.values())
  rows: list[Sequence[str]] = [
    ("all attacks together, in this order", "breaks besides")
  ]
  rows += [(name, str(gain)) for name, gain in zip(read, gains, strict=True)]
  return [f"{align(rows, right=(1,))}\nrobust against all: {left} of {len(union)}"]
