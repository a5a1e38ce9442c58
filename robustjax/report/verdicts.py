"""The paper's claims and what a condition's runs say to them."""

from collections.abc import Sequence

from robustjax.paper.claims import Claim, Side
from robustjax.report import effects
from robustjax.report.conditions import Condition
from robustjax.report.document import Block, Cell, Details, Small, Table
from robustjax.report.tables import attack, kind, look_up


def blocks(condition: Condition) -> list[Block]:
  """A table of the claims that can be judged, the counts, and the other claims.

  Args:
    condition: with its runs.

  Returns:
    Nothing if no claim can be judged.
  """
  strongest = condition.strongest

  def measure(setting: str, branch: str, reading: int | None) -> effects.Count | None:
    # Both sides of a claim are read against the same attack, or not at all.
    steps = strongest if reading is None else reading
    found = look_up(condition, setting, branch, steps, last=False).measurement
    if found is None or (reading is None and not strongest):
      return None
    return effects.Count(found.correct, found.images, len(found.runs))

  judged = effects.judge(measure)
  measured = [v for v in judged if v.verdict != effects.NOT_MEASURED]
  if not measured:
    return []
  rest = [v for v in judged if v.verdict == effects.NOT_MEASURED]
  found: list[Block] = [_table(condition, measured)]
  found.append(Details("Counts", tuple((_counts(v, strongest),) for v in measured)))
  if rest:
    texts = tuple((f"{v.claim.text} ({_place(v.claim)})",) for v in rest)
    found.append(Details(f"{len(rest)} claims that were not measured", texts))
  return found


def _table(condition: Condition, verdicts: Sequence[effects.Verdict]) -> Table:
  tint = kind(condition)
  head = (
    Cell(("claim",), "label"),
    Cell(("published",), "published"),
    Cell((f"measured: {condition.label}",), tint),
    Cell(("verdict",)),
  )
  body = tuple(_row(verdict, tint, condition.strongest) for verdict in verdicts)
  caption = (
    f"{condition.label}: differences in points of accuracy. Robustness is the accuracy"
    f" against {attack(condition.strongest)}."
  )
  return Table(caption, head, body)


def _row(verdict: effects.Verdict, tint: str, strongest: int) -> tuple[Cell, ...]:
  claim = verdict.claim
  near = (Small(f"within {claim.near:g}"),) if claim.near is not None else ()
  published = "not given" if claim.published is None else f"{claim.published:+.1f}"
  assert verdict.difference is not None
  assert verdict.low is not None and verdict.high is not None
  bounds = f"{verdict.low:+.1f} to {verdict.high:+.1f}"
  return (
    Cell((claim.text, Small(_place(claim))), "label"),
    Cell((published, *near), "published"),
    Cell(
      (f"{verdict.difference:+.1f}", Small(bounds)), tint, _counts(verdict, strongest)
    ),
    Cell((verdict.verdict,), f"text {verdict.verdict.replace(' ', '-')}"),
  )


def _place(claim: Claim) -> str:
  part = "section" if claim.source[0].isdigit() else "appendix"
  return f"{part} {claim.source}"


def _counts(verdict: effects.Verdict, strongest: int) -> str:
  sides = (
    (verdict.claim.better, verdict.better),
    (verdict.claim.worse, verdict.worse),
  )
  return " against ".join(_side(side, count, strongest) for side, count in sides)


def _side(side: Side, count: effects.Count | None, strongest: int) -> str:
  assert count is not None
  setting, branch, reading = side
  name = setting if branch == "all" else f"{setting}, {branch} branch"
  runs = f" in {count.runs} runs" if count.runs > 1 else ""
  steps = attack(strongest if reading is None else reading)
  return f"{name}, {steps}: {count.correct:,} of {count.images:,} images{runs}"
