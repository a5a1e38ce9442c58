"""Robustness as far as it was measured: runs against adaptive attacks, and in pairs."""

import itertools
from collections.abc import Iterator, Sequence

from robustjax.paper.claims import CLAIMS, Side
from robustjax.paper.rows import TARGETED
from robustjax.report import paired
from robustjax.report.comparison import kind, names
from robustjax.report.conditions import Condition
from robustjax.report.document import Cell, Table
from robustjax.report.files import Adaptive, Row
from robustjax.report.intervals import wilson
from robustjax.report.numbers import attack, percent, span
from robustjax.report.runs import Run
from robustjax.report.suites import Suite

NOT_RUN = "not run"
_LEAST = 1e-4  # a smaller p is not told from it


def table(runs: Sequence[Run]) -> Table | None:
  """Every evaluated run, branch by branch, with its readings for comparison.

  Args:
    runs: all that were found.

  Returns:
    None if no run was evaluated but by targeted PGD.
  """
  ended = any(run.evaluation.adaptive for run in runs if run.evaluation)
  if not ended and not any(run.suites or run.audits for run in runs):
    return None
  numbers = ("eps", "clean", "targeted PGD", "adaptive", "standard")
  head = [Cell("run", "label"), Cell("branch")]
  head += [*(Cell(text, "number") for text in numbers), Cell("audit")]
  body = [_row(run, branch) for run in runs for branch in _branches(run)]
  caption = (
    "Accuracy in %. Adaptive: the attacks towards any wrong class that a run ends with."
    " Standard: apgd-ce, apgd-t, fab-t and square with AutoAttack's constants,"
    " L-infinity. Both attack the branch that they read, at the eps of the readings."
    f" Audit: whether attacks can be trusted. {TARGETED}"
  )
  findings = [line for run in runs for line in _findings(run)]
  others = [line for run in runs for line in _others(run)]
  folded = {"What audits found": findings, "Other evaluations": others}
  return Table(caption, head, body, folded={k: v for k, v in folded.items() if v})


def _branches(run: Run) -> list[str]:
  """Those that were read, or that weights of a file have if they were evaluated."""
  if run.evaluation:
    return list(dict.fromkeys(row.branch for row in run.evaluation.rows))
  return ["all"] if run.weights and (run.suites or run.audits) else []


def _steps(row: Row) -> int:
  return row.steps


def _row(run: Run, branch: str) -> list[Cell]:
  found = run.evaluation
  rows = [row for row in found.rows if row.branch == branch] if found else []
  weak, strong = (choose(rows, key=_steps, default=None) for choose in (min, max))
  ended = [row for row in found.adaptive if row.branch == branch] if found else []
  least = min(ended, key=lambda row: row.robust / row.images, default=None)
  suite, audit = run.standard(branch), run.audit(branch)
  clean = weak if weak and not weak.steps else None
  if suite and not found:  # weights of a file have no readings
    clean = Row(branch, 0, suite.clean, suite.images)
  targeted = strong if strong and strong.steps else None
  most = strong.images if strong else 0

  def rate(found: Row | Adaptive | Suite | None, *small: str) -> Cell:
    if found is None:
      return Cell(NOT_RUN, "missing")
    correct = found.correct if isinstance(found, Row) else found.robust
    few = [f"{found.images:,} images"] if found.images < most else []
    texts = [*small, span(wilson(correct, found.images)), *few]
    counted = f"{correct:,} of {found.images:,} images"
    return Cell(percent(correct / found.images), "number", counted, small=texts)

  return [
    Cell(run.name, "label", code=True),
    Cell(branch),
    Cell(f"{run.eps or (suite.identity.eps if suite else 0):g}", "number"),
    rate(clean),
    rate(targeted, attack(targeted.steps) if targeted else ""),
    rate(least, least.attack if least else ""),
    rate(suite),
    Cell(audit.verdict, f"text {audit.verdict}") if audit else Cell(NOT_RUN, "missing"),
  ]


def _findings(run: Run) -> Iterator[str]:
  for audit in run.audits:
    for name, verdict, what in audit.checks:
      if verdict != "clean":
        yield f"{run.name}, {audit.identity.branch} branch: {name}, {verdict}: {what}"


def _others(run: Run) -> Iterator[str]:
  """Evaluations that no column shows: of other attacks, images, eps or branches."""
  adaptive = run.evaluation.adaptive if run.evaluation else ()
  ended = {(row.branch, row.attack) for row in adaptive}
  for suite in run.suites:
    what = suite.identity
    is_ending = run.is_own(what) and (what.branch, suite.attack) in ended
    if is_ending or suite is run.standard(what.branch):
      continue
    is_other = what.attack_branch != what.branch
    attacked = f", attacked through {what.attack_branch}" if is_other else ""
    step = "" if what.step is None else f", step {what.step:,}"
    yield (
      f"{run.name}/{suite.name}: {suite.attack}, branch {what.branch}{attacked},"
      f" {what.norm}, eps {what.eps:g}, {what.data} {what.split}{step}:"
      f" {suite.robust:,} robust and {suite.clean:,} clean of {suite.images:,} images"
    )


def pairs(condition: Condition) -> Table | None:
  """The paper's comparisons of robustness, image by image.

  Args:
    condition: its runs' evaluations are compared where they are of the same attacks
      and images: one pair for each claim, of one seed if there are such runs.

  Returns:
    None if there is no such pair.
  """
  tint = kind(condition)
  body = []
  for claim in CLAIMS:
    if claim.better[2] is None and claim.worse[2] is None:
      found = _comparable(condition, claim.better, claim.worse)
      if found:
        body.append(_pair(claim.text, tint, *found))
  if not body:
    return None
  numbers = ("first", "second", "only first", "only second", "difference", "p")
  head = [Cell("first against second", "label"), Cell("attacks")]
  head += [Cell(text, tint) for text in numbers]
  caption = f"{condition.label}: images that no attack broke, in pairs of networks."
  return Table(caption, head, body)


Evaluated = tuple[Run, Suite]


def _comparable(
  condition: Condition, better: Side, worse: Side
) -> tuple[Evaluated, Evaluated] | None:
  """Two evaluations of the same attacks and images: "standard", and large, first."""
  both = itertools.product(_suites(condition, better), _suites(condition, worse))
  found = [
    (one, other)
    for one, other in both
    if one[1].protocol == other[1].protocol
    and paired.same_images(one[1].ledger, other[1].ledger)
  ]

  def rank(pair: tuple[Evaluated, Evaluated]) -> tuple[bool, int, bool]:
    (run, suite), (other, _) = pair
    return suite.attack == "standard", suite.images, run.seed == other.seed

  return max(found, key=rank, default=None)


def _suites(condition: Condition, side: Side) -> list[Evaluated]:
  setting, branch, _ = side
  runs = [run for name in names(condition, setting) for run in condition.of(name)]
  return [
    (run, suite)
    for run in runs
    for suite in run.suites
    if suite.identity.branch == branch and run.is_own(suite.identity)
  ]


def _pair(text: str, tint: str, one: Evaluated, other: Evaluated) -> list[Cell]:
  found = paired.mcnemar(one[1].ledger, other[1].ledger)
  low, high = (100 * bound for bound in found.interval)
  p = f"{found.p:.4f}" if found.p >= _LEAST else f"< {_LEAST:g}"
  label = f"{_name(*one)} against {_name(*other)}"
  rates = [
    Cell(percent(s.robust / s.images), tint, f"{s.robust:,} of {s.images:,} images")
    for _, s in (one, other)
  ]
  bounds = f"{low:+.1f} to {high:+.1f}"
  return [
    Cell(label, "label", small=(text,)),
    Cell(one[1].attack),
    *rates,
    Cell(f"{found.one:,}", tint),
    Cell(f"{found.other:,}", tint),
    Cell(f"{100 * found.difference:+.1f}", tint, small=(bounds,)),
    Cell(p, tint),
  ]


def _name(run: Run, suite: Suite) -> str:
  branch = suite.identity.branch
  return run.name if branch == "all" else f"{run.name}, {branch} branch"
