"""Tables for a terminal: the one that a run ends with, from its evaluation.json."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from robustjax.paper.rows import TARGETED


def evaluation_table(evaluation: Mapping[str, Any]) -> str:
  """Counts and rates of every row, for a terminal.

  Args:
    evaluation: what evaluation.json holds.

  Returns:
    Lines of text: a row for each branch and reading, and the worst case of each
    branch over all its readings; what the adaptive attacks left, if the run was read
    against some; what such numbers say; the number of broken images that were left
    out, and the guesses that the run depends on.
  """
  header = (
    "branch",
    "attack",
    "step size",
    "eps",
    "correct",
    "accuracy",
    "target hits",
  )
  lines: list[Sequence[str]] = [header]
  for row in evaluation["rows"]:
    attacked = row["attack"] != "none"
    lines.append(
      (
        row["branch"],
        f"PGD-{row['steps']}" if attacked else "none (clean)",
        f"{row['step_size']:g}" if attacked else "",
        f"{row['eps']:g}" if attacked else "",
        f"{row['correct']} / {row['images']}",
        f"{row['accuracy']:.1%}",
        f"{row['target_hits']} / {row['images']}",
      )
    )
  for row in evaluation["worst_case"]:
    count = f"{row['correct']} / {row['images']}"
    rate = f"{row['accuracy']:.1%}"
    lines.append((row["branch"], "worst case", "", "", count, rate, ""))
  for row in evaluation.get("adaptive", []):
    count = f"{row['robust']} / {row['images']}"
    rate = f"{row['robust'] / row['images']:.1%}"
    name = row["attack"].replace(",", ", ")
    lines.append((row["branch"], name, "", f"{row['eps']:g}", count, rate, ""))
  text = align(lines, right=range(2, len(header)))  # names to the left
  text += f"\n{TARGETED}"
  if skipped := evaluation.get("skipped"):
    text += f"\nbroken images, which no row counts: {skipped}"
  if evaluation.get("guesses"):
    text += f"\nguesses: {', '.join(evaluation['guesses'])}"
  return text


def align(lines: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
  """Columns of text under a header, for a terminal.

  Args:
    lines: rows of cells, all of one length; the first is the header.
    right: the columns that are numbers, aligned to the right.

  Returns:
    Lines of text, a rule under the header.
  """
  widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
  rows = [*lines[:1], ["-" * width for width in widths], *lines[1:]]
  return "\n".join(
    "  ".join(
      cell.rjust(width) if i in right else cell.ljust(width)
      for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ).rstrip()
    for row in rows
  )
