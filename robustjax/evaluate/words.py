"""What an evaluation says in a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from robustjax.report.intervals import wilson
from robustjax.report.table import align


def table(summary: Mapping[str, Any]) -> str:
  """The images that are right, before any attack and after each.

  Args:
    summary: what summary.json holds.
  """
  images = summary["images"]
  rows: list[Sequence[str]] = [
    ("attack", "attacked", "broken", "right", "accuracy", "95 % interval")
  ]

  def row(name: str, attacked: str, broken: str, right: int) -> None:
    low, high = wilson(right, images)
    interval = f"{low:.1%} to {high:.1%}"
    right_of = f"{right} / {images}"
    rows.append((name, attacked, broken, right_of, f"{right / images:.1%}", interval))

  left = summary["clean"]
  row("none (clean)", "", "", left)
  for attack in summary["attacks"]:
    left -= attack["broken"]
    row(attack["name"], str(attack["attacked"]), str(attack["broken"]), left)
  text = align(rows, right=range(1, 5))
  if summary["skipped"]:
    text += f"\nbroken images, which no row counts: {summary['skipped']}"
  return text


def matrix(summaries: Sequence[Mapping[str, Any]]) -> str:
  """The accuracy of every branch that is read under attacks on every branch.

  Args:
    summaries: what the summary.json of each pair holds.
  """
  found = {
    (s["identity"]["branch"], s["identity"]["attack_branch"]): s for s in summaries
  }
  read, attacked = (list(dict.fromkeys(pair[i] for pair in found)) for i in (0, 1))
  header = ["read through", "clean", *(f"attacked through {name}" for name in attacked)]
  rows: list[Sequence[str]] = [header]
  for name in read:
    cells = [name, ""]
    for other in attacked:
      summary = found.get((name, other))
      cells.append(f"{summary['robust'] / summary['images']:.1%}" if summary else "")
      if summary:
        cells[1] = f"{summary['clean'] / summary['images']:.1%}"
    rows.append(cells)
  return align(rows, right=range(1, len(header)))
