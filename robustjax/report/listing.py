"""Lists of what was found: runs, those of no row, guesses, problems and notes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from robustjax.paper.notes import NOTES
from robustjax.report import tables
from robustjax.report.conditions import Other
from robustjax.report.document import (
  Block,
  Bullets,
  Cell,
  Code,
  Heading,
  Inline,
  Paragraph,
  Table,
)
from robustjax.report.runs import Run
from robustjax.report.tables import percent


def runs(found: Sequence[Run]) -> Iterator[Block]:
  """Every run with its state."""
  yield Heading(2, "Runs", "runs")
  if not found:
    yield Paragraph(("None.",))
    return
  names = ("run", "setting", "scale", "eps", "seed", "state", "step", "validation")
  head = tuple(
    Cell((name,), "label" if name == "run" else "text")
    for name in (*names, "overrides")
  )
  yield Table("Every run that was found", head, tuple(_run(run) for run in found))


def _run(run: Run) -> tuple[Cell, ...]:
  validation = ", ".join(
    f"{name} {percent(rate)}" for name, rate in run.progress.validation.items()
  )
  eps = f"{run.eps:g}"
  if run.trained_eps != run.eps:
    eps += f", trained at {run.trained_eps:g}"
  texts = (run.setting, run.scale, eps, f"{run.seed}", run.progress.text)
  return (
    Cell((Code(run.name),), "label"),
    *(Cell((text,)) for text in texts),
    Cell((f"{run.progress.step:,}",), "number"),
    Cell((validation,)),
    Cell((_overrides(run.overrides),)),
  )


def _overrides(overrides: Mapping[str, Any] | None) -> str:
  if overrides is None:
    return "not recorded"
  return ", ".join(f"{n}={_short(value)}" for n, value in sorted(overrides.items()))


def _short(value: Any) -> str:
  text = f"{value}"
  return text if len(text) <= 60 else f"{text[:60]}..."


def others(found: Sequence[Other]) -> Iterator[Block]:
  """Runs that are no row of the paper and why, with what they measured."""
  if not found:
    return
  yield Heading(2, "Other runs", "other-runs")
  yield Paragraph(
    (
      "These are no row of the paper, whatever their setting is called: they have"
      " other values than their setting, or start from another run. (Where eps and"
      " the step sizes of both attacks are all larger or smaller in one proportion, a"
      " run is still its row's, in a condition of its own.)",
    )
  )
  items = []
  for other in found:
    run = other.run
    what = f" ({run.setting}, {run.scale}, {run.progress.text}): {other.why}"
    items.append((Code(run.name), f"{what}{_results(run)}"))
  yield Bullets(tuple(items))


def _results(run: Run) -> str:
  if not run.evaluation:
    return ""
  rows = (
    f"{row.branch} {tables.attack(row.steps)} {percent(row.correct / row.images)}"
    for row in run.evaluation.rows
  )
  return f"; measured: {', '.join(rows)}"


def guesses(found: Sequence[Run]) -> Iterator[Block]:
  """What no source settles, and the runs that depend on it."""
  by_guesses: dict[tuple[str, ...], list[Run]] = {}
  for run in found:
    if run.evaluation and run.evaluation.guesses:
      by_guesses.setdefault(run.evaluation.guesses, []).append(run)
  if not by_guesses:
    return
  yield Heading(2, "Guesses", tables.GUESSES)
  yield Paragraph(
    (
      "Values that neither the paper nor its training pipeline settles, and the runs"
      " that depend on them.",
    )
  )
  yield Bullets(
    tuple(
      (*_codes(values), ": ", *_codes([run.name for run in of]))
      for values, of in by_guesses.items()
    )
  )


def _codes(texts: Sequence[str]) -> Iterator[Inline]:
  for i, text in enumerate(texts):
    if i:
      yield ", "
    yield Code(text)


def problems(found: Sequence[str]) -> Iterator[Block]:
  """Damaged files, a line each."""
  if found:
    yield Heading(2, "Problems", "problems")
    yield Bullets(tuple((problem,) for problem in found))


def notes() -> Iterator[Block]:
  """Contradictions and repairs of the published numbers, numbered."""
  yield Heading(2, "Notes on the published numbers", "notes")
  yield Bullets(tuple((text,) for text in NOTES.values()), numbered=True)
