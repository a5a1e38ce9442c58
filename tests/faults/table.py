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
      thing; "said": it went on, and a line names what is lost; "not tried".
    seconds: until the run had ended, or refused.
    lost: steps of training that had to be made again, if it is a run's.
    wrong: what is wrong, or "".
    what: what exactly was injected; of a fault that was not tried, why not.
  """

  fault: str
  outcome: str
  seconds: float
  lost: int | None = None
  wrong: str = ""
  what: str = ""


NOT_TRIED = "not tried"
OUTCOMES = ("survived", "refused", "said")


def table(results: Iterable[Result]) -> str:
  """Markdown: a row a kind of fault."""
  kinds: dict[str, list[Result]] = {}
  for result in results:
    kinds.setdefault(result.fault, []).append(result)
  lines = [
    "| Fault | Injected | Survived | Refused | Said | Wrong | Lost steps | Seconds |",
    "|---|---:|---:|---:|---:|---:|---:|---:|",
  ]
  for fault, found in kinds.items():
    lines.append(f"| {' | '.join([fault, *_cells(found)])} |")
  return "\n".join(lines)


def _cells(found: list[Result]) -> list[str]:
  tried = [r for r in found if r.outcome != NOT_TRIED]
  if not tried:
    return [f"0, not tried: {found[0].what}", *[""] * 6]
  right = [r.outcome for r in tried if not r.wrong]
  counts = [len(tried), *map(right.count, OUTCOMES), len(tried) - len(right)]
  seconds = statistics.median(r.seconds for r in tried)
  return [*map(str, counts), _range(tried), f"{seconds:.1f}"]


def _range(found: list[Result]) -> str:
  lost = {r.lost for r in found if r.lost is not None}
  if not lost:
    return "-"
  low, high = min(lost), max(lost)
  return str(low) if low == high else f"{low} to {high}"
