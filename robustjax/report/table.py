"""The table that a run ends with, from its evaluation.json."""

from collections.abc import Mapping
from typing import Any


def evaluation_table(evaluation: Mapping[str, Any]) -> str:
  """Counts and rates of every row, for a terminal.

  Args:
    evaluation: what evaluation.json holds.

  Returns:
    Lines of text: a row for each branch and reading, and the worst case of each
    branch over all its readings, and the guesses that the run depends on.
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
  lines = [header]
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
  widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
  left = (0, 1)  # names to the left, numbers to the right
  text = [
    "  ".join(
      cell.ljust(width) if i in left else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(line, widths, strict=True))
    ).rstrip()
    for line in lines
  ]
  text.insert(1, "  ".join("-" * width for width in widths))
  if evaluation.get("guesses"):
    text.append(f"guesses: {', '.join(evaluation['guesses'])}")
  return "\n".join(text)
