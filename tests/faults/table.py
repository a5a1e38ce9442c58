"""What came of a fault, and the table of all."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
  """One injected fault.

  Attributes:
    fault: its kind, a row of the table.
    outcome: "survived": the end has the same bytes; "refused": one line that names the
      thing; "said": it went on, and a line names what is lost.
    seconds: until the run had ended, or refused.
    lost: work that had to be made again, in words.
    wrong: what is wrong, or "".
    what: what exactly was injected.
  """

  fault: str
  outcome: str
  seconds: float
  lost: str = ""
  wrong: str = ""
  what: str = ""


OUTCOMES = ("survived", "refused", "said")


def table(results: Iterable[Result]) -> str:
  """Markdown: a row a kind of fault."""
  kinds: dict[str, list[Result]] = {}
  for result in results:
    kinds.setdefault(result.fault, []).append(result)
  lines = [
    "| Fault | Injected | Survived | Refused | Said | Wrong | Lost work | Seconds |",
    "|---|---:|---:|---:|---:|---:|---|---:|",
  ]
  for fault, found in kinds.items():
    right = [r.outcome for r in found if not r.wrong]
    counts = [len(found), *map(right.count, OUTCOMES), len(found) - len(right)]
    seconds = statistics.median(r.seconds for r in found)
    cells = [fault, *map(str, counts), _range(found), f"{seconds:.1f}"]
    lines.append(f"| {' | '.join(cells)} |")
  return "\n".join(lines)


def _range(found: list[Result]) -> str:
  lost = sorted({r.lost for r in found if r.lost}, key=lambda x: (len(x), x))
  if len(lost) > 2:
    return f"{lost[0]} to {lost[-1]}"
  return ", ".join(lost) or "none"
