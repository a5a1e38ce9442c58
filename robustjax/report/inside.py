"""Figures 5 and 6 and images beside their attacks, of the runs that left them."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from matplotlib.figure import Figure

from robustjax.errors import UserError
from robustjax.report import anatomy
from robustjax.report.conditions import Condition
from robustjax.report.document import Block, Heading, Panel, Panels, clean
from robustjax.report.runs import Run
from robustjax.report.tables import kind

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class _Kind(Generic[_Found]):
  """A kind of picture of a run.

  Attributes:
    name: that its pictures' names begin with.
    file: it is drawn from.
    draw: what `file` holds -> the picture.
    said: the same -> what it shows, for a person who cannot see it.
    settings: whose runs are drawn, the first ones that a condition has.
    most: how many of them in a condition.
  """

  name: str
  file: str
  draw: Callable[[_Found], Figure]
  said: Callable[[_Found], str]
  settings: tuple[str, ...]
  most: int = 1

  def panels(
    self,
    number: int,
    condition: Condition,
    found: Sequence[tuple[Run, _Found]],
    problems: list[str],
  ) -> list[Panel]:
    """The pictures of a condition, one a setting.

    Args:
      number: of the condition, from 1.
      condition: of the runs.
      found: its runs that have the file, and what the file holds.
      problems: a line is added for each run that cannot be drawn; another run of the
        setting, or another setting, takes its place.
    """
    drawn: list[Panel] = []
    for setting in self.settings:
      for run, values in found if len(drawn) < self.most else ():
        if run.setting.removesuffix("_eps8") != setting:
          continue
        title = f"measured: {condition.label}: {run.name}"
        name = f"{self.name}-condition-{number}-{len(drawn) + 1}"
        try:
          figure, said = self.draw(values), self.said(values)
          figure.draw_without_rendering()
        except Exception as error:  # whatever it is, the rest of the report matters
          why = f"{type(error).__name__}: {error}"[:100]
          line = f"{run.name}/{self.file} cannot be drawn ({why})"
          problems.append(clean(line))
          continue
        alt = f"{self.name.replace('-', ' ').capitalize()}, {title}. {said}"
        drawn.append(Panel(name, figure, title, alt, kind(condition), wide=True))
        break
    return drawn


def _say_statistics(read: Mapping[str, Any]) -> str:
  means = (
    f"{branch}: mean of the running variances {_mean(values['var']):.3g}"
    for branch, values in read["running"].items()
  )
  return f"Layer {read['layer']}; {'; '.join(means)}."


def _say_images(read: anatomy.Arrays) -> str:
  right = int((read["predicted_adv"] == read["label"]).sum())
  return f"{right} of {len(read['label'])} adversarial images are classified rightly."


def _mean(values: Sequence[float]) -> float:
  return sum(values) / max(1, len(values))


# Figure 5 compares MBN's branches, Figure 6 is of 100% adv + 0% clean.
_RUNNING = _Kind(
  "figure-5",
  anatomy.STATISTICS,
  anatomy.running_figure,
  _say_statistics,
  ("mbn", "mbn_alp", "mbn_star", "mbn_alp_star"),
)
_BATCHES = _Kind(
  "figure-6",
  anatomy.STATISTICS,
  anatomy.batch_figure,
  _say_statistics,
  ("adv", "adv_star"),
)
_IMAGES = _Kind(
  "images",
  anatomy.EXAMPLES,
  anatomy.panel_figure,
  _say_images,
  ("adv_clean", "adv", "mbn", "mbn_alp", "alp", "gn", "clean"),
  most=3,
)


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
    shown = _read(condition.runs, anatomy.EXAMPLES, anatomy.read_examples, problems)
    running += _RUNNING.panels(number, condition, found, problems)
    batches += _BATCHES.panels(number, condition, found, problems)
    images += _IMAGES.panels(number, condition, shown, problems)
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
  read: Callable[[Any], _Found],
  problems: list[str],
) -> list[tuple[Run, _Found]]:
  found = []
  for run in runs:
    path = run.path / file
    if not os.path.lexists(path):
      continue
    try:
      found.append((run, read(path)))
    except UserError as error:
      why = str(error).replace(str(run.path), run.name)
      problems.append(clean(why))
  return found
