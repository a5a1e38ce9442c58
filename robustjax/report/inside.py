"""Figures 5 and 6 and images beside their attacks, of the runs that left them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from matplotlib.figure import Figure

from robustjax.errors import UserError
from robustjax.report import anatomy
from robustjax.report.conditions import Condition
from robustjax.report.document import Block, Heading, Panel, Panels, clean
from robustjax.report.runs import Run
from robustjax.report.tables import kind

_Read = TypeVar("_Read")

# Figure 5 compares MBN's branches, Figure 6 is of 100% adv + 0% clean; the first of
# these settings that a condition has. Images: of the first three.
_RUNNING = ("mbn", "mbn_alp", "mbn_star", "mbn_alp_star")
_BATCHES = ("adv", "adv_star")
_IMAGES = ("adv_clean", "adv", "mbn", "mbn_alp", "alp", "gn", "clean")
_SHOWN = 3


def blocks(
  conditions: Sequence[Condition], others: Sequence[Run], problems: list[str]
) -> tuple[list[Block], list[Block]]:
  """The figures, each under a heading; none without a file.

  Args:
    conditions: with their runs.
    others: runs of no row, whose files are checked alone.
    problems: a line is added for each file that is damaged.

  Returns:
    Figures 5 and 6, and the images: each a heading and panels, or nothing.
  """
  running: list[Panel] = []
  batches: list[Panel] = []
  images: list[Panel] = []
  for number, condition in enumerate(conditions, 1):
    found = _read(condition.runs, anatomy.STATISTICS, anatomy.read_statistics, problems)
    chosen = _chosen(found, _RUNNING)[:1]
    running += _panels("figure-5", number, condition, chosen, anatomy.running_figure)
    chosen = _chosen(found, _BATCHES)[:1]
    batches += _panels("figure-6", number, condition, chosen, anatomy.batch_figure)
    shown = _read(condition.runs, anatomy.EXAMPLES, anatomy.read_examples, problems)
    chosen = _chosen(shown, _IMAGES)[:_SHOWN]
    images += _panels("images", number, condition, chosen, anatomy.panel_figure)
  _read(others, anatomy.STATISTICS, anatomy.read_statistics, problems)
  _read(others, anatomy.EXAMPLES, anatomy.read_examples, problems)
  figures = [
    *_section(
      "Figure 5",
      "Running mean and variance of MBN's two branches, at some channels of one layer."
      " The paper prints a picture and no numbers.",
      running,
    ),
    *_section(
      "Figure 6",
      "Running statistics beside those of two batches, 100% adv + 0% clean. The paper"
      " prints a picture and no numbers.",
      batches,
    ),
  ]
  caption = "Clean images, their adversarial ones, and the difference."
  return figures, list(_section("Images", caption, images))


def _section(title: str, caption: str, panels: Sequence[Panel]) -> Iterator[Block]:
  if panels:
    yield Heading(3, title, title.lower().replace(" ", "-"))
    yield Panels(caption, tuple(panels))


def _read(
  runs: Sequence[Run],
  file: str,
  read: Callable[[Any], _Read],
  problems: list[str],
) -> list[tuple[Run, _Read]]:
  found = []
  for run in runs:
    path = run.path / file
    if not path.exists():
      continue
    try:
      found.append((run, read(path)))
    except UserError as error:
      why = str(error).replace(str(run.path), run.name)
      problems.append(clean(why))
  return found


def _chosen(
  found: Sequence[tuple[Run, _Read]], settings: Sequence[str]
) -> list[tuple[Run, _Read]]:
  """One run of each setting, in the order of the settings."""
  first: dict[str, tuple[Run, _Read]] = {}
  for run, read in found:
    first.setdefault(run.setting.removesuffix("_eps8"), (run, read))
  return [first[setting] for setting in settings if setting in first]


def _panels(
  name: str,
  number: int,
  condition: Condition,
  chosen: Sequence[tuple[Run, _Read]],
  draw: Callable[[_Read], Figure],
) -> Iterator[Panel]:
  for place, (run, read) in enumerate(chosen, 1):
    title = f"measured: {condition.label}: {run.name}"
    yield Panel(
      f"{name}-condition-{number}-{place}",
      draw(read),
      title,
      f"{name.replace('-', ' ').capitalize()}, {title}. {_said(read)}",
      kind(condition),
      wide=True,
    )


def _said(read: Any) -> str:
  """What a picture shows, for a person who cannot see it."""
  if "running" in read:
    means = (
      f"{branch}: mean of the running variances {_mean(values['var']):.3g}"
      for branch, values in read["running"].items()
    )
    return f"Layer {read['layer']}; {'; '.join(means)}."
  right = int((read["predicted_adv"] == read["label"]).sum())
  return f"{right} of {len(read['label'])} adversarial images are classified rightly."


def _mean(values: Sequence[float]) -> float:
  return sum(values) / max(1, len(values))
