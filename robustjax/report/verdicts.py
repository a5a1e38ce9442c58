"""A plain verdict on each claim of the paper, from a condition's counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from robustjax.paper.claims import CLAIMS, Claim, Side
from robustjax.paper.rows import TARGETED
from robustjax.report.comparison import kind, look_up
from robustjax.report.conditions import Condition
from robustjax.report.document import Cell, Table
from robustjax.report.intervals import Count, newcombe
from robustjax.report.numbers import attack

APPEARS, NOT_SEEN = "appears", "not seen"
REVERSED, NOT_MEASURED = "reversed", "not measured"
DIFFERS = "differs"  # two accuracies that are claimed to be nearly the same

Measure = Callable[[str, str, int | None], Count | None]


@dataclass(frozen=True)
class Verdict:
  """What was measured about a claim.

  Attributes:
    claim: that was judged.
    difference: better minus worse, in points of accuracy; None if not measured.
    low: of the difference's 95 % interval, in points; None if not measured.
    high: of the same.
    verdict: "appears", "not seen", "reversed", "differs" or "not measured".
    better: counts behind it, None if not measured.
    worse: the same.
  """

  claim: Claim
  difference: float | None
  low: float | None
  high: float | None
  verdict: str
  better: Count | None
  worse: Count | None


def judge(measure: Measure, claims: Sequence[Claim] = CLAIMS) -> list[Verdict]:
  """A verdict on every claim.

  A difference "appears" if its whole 95 % interval lies above 0, is "reversed" if it
  lies below, and is "not seen" if the interval holds 0. Where two accuracies are
  claimed to be nearly the same, that "appears" if the whole interval lies within the
  claim's `near` points on either side of 0, "differs" if it lies outside, and is "not
  seen" otherwise: too few images, or a difference that is close to `near`.

  The interval covers the choice of test images. It does not cover the choice of the
  seed: another training may differ by more.

  Args:
    measure: (setting, branch, reading) -> counts, or None if nobody measured it.
    claims: the paper's.

  Returns:
    The verdicts in the order of the claims.
  """
  return [_judge(claim, measure) for claim in claims]


def _judge(claim: Claim, measure: Measure) -> Verdict:
  better, worse = measure(*claim.better), measure(*claim.worse)
  if better is None or worse is None:
    return Verdict(claim, None, None, None, NOT_MEASURED, better, worse)
  low, high = (100 * bound for bound in newcombe(better, worse))
  difference = 100 * (better.rate - worse.rate)
  word = _word(low, high, claim.near)
  return Verdict(claim, difference, low, high, word, better, worse)


def _word(low: float, high: float, near: float | None) -> str:
  if near is None:
    return APPEARS if low > 0 else REVERSED if high < 0 else NOT_SEEN
  if -near <= low and high <= near:
    return APPEARS
  return DIFFERS if high < -near or near < low else NOT_SEEN


def table(condition: Condition) -> Table | None:
  """The claims that a condition's runs can judge, their counts, and the other claims.

  Args:
    condition: with its runs.

  Returns:
    None if no claim can be judged.
  """
  strongest, tint = condition.strongest, kind(condition)

  def measure(setting: str, branch: str, reading: int | None) -> Count | None:
    # Both sides of a claim are read against the same attack, or not at all.
    steps = strongest if reading is None else reading
    if reading is None and not strongest:
      return None
    found = look_up(condition, setting, branch, steps, last=False).measurement
    return found.count if found else None

  verdicts = judge(measure)
  measured = [v for v in verdicts if v.verdict != NOT_MEASURED]
  rest = [v.claim for v in verdicts if v.verdict == NOT_MEASURED]
  if not measured:
    return None
  folded = {"Counts": [_counts(v, strongest) for v in measured]}
  if rest:
    folded[f"{len(rest)} claims that were not measured"] = [
      f"{claim.text} ({_source(claim)})" for claim in rest
    ]
  head = (
    Cell("claim", "label"),
    Cell("published", "published"),
    Cell(f"measured: {condition.label}", tint),
    Cell("verdict"),
  )
  caption = (
    f"{condition.label}: differences in points of accuracy. What the claims call"
    f" robustness is the accuracy against {attack(strongest)}. {TARGETED}"
  )
  body = [_row(verdict, tint, strongest) for verdict in measured]
  return Table(caption, head, body, folded=folded)


def _row(verdict: Verdict, tint: str, strongest: int) -> tuple[Cell, ...]:
  claim = verdict.claim
  near = (f"within {claim.near:g}",) if claim.near is not None else ()
  published = "not given" if claim.published is None else f"{claim.published:+.1f}"
  bounds = f"{verdict.low:+.1f} to {verdict.high:+.1f}"
  counts = _counts(verdict, strongest)
  return (
    Cell(claim.text, "label", small=(_source(claim),)),
    Cell(published, "published", small=near),
    Cell(f"{verdict.difference:+.1f}", tint, counts, small=(bounds,)),
    Cell(verdict.verdict, f"text {verdict.verdict.replace(' ', '-')}"),
  )


def _source(claim: Claim) -> str:
  part = "section" if claim.source[0].isdigit() else "appendix"
  return f"{part} {claim.source}"


def _counts(verdict: Verdict, strongest: int) -> str:
  claim = verdict.claim
  sides = (claim.better, verdict.better), (claim.worse, verdict.worse)
  return " against ".join(_side(side, count, strongest) for side, count in sides)


def _side(side: Side, count: Count | None, strongest: int) -> str:
  assert count is not None
  setting, branch, reading = side
  name = setting if branch == "all" else f"{setting}, {branch} branch"
  runs = f" in {count.runs} runs" if count.runs > 1 else ""
  steps = attack(strongest if reading is None else reading)
  return f"{name}, {steps}: {count.correct:,} of {count.images:,} images{runs}"
