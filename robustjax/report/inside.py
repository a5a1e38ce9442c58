"""Figures 5 and 6 and the images, of the runs that robustjax.inspect looked into."""

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from robustjax.errors import UserError
from robustjax.report import anatomy, files
from robustjax.report.comparison import kind
from robustjax.report.conditions import Condition
from robustjax.report.document import Panel, Section, clean
from robustjax.report.drawing import Figure
from robustjax.report.runs import Run


def sections(
  conditions: Sequence[Condition], others: Sequence[Run], problems: list[str]
) -> list[Section]:
  """Figures 5 and 6 and the images, of the runs that have the files.

  Args:
    conditions: with their runs.
    others: runs of no row, whose files are checked alone.
    problems: a line is added for each file that is damaged or cannot be drawn.

  Returns:
    Those that have a picture.
  """
  read = [
    {file: _read(runs, file, problems) for file in files.INSPECTED}
    for runs in (*(condition.runs for condition in conditions), others)
  ]

  def section(
    title: str, caption: str, file: str, draw: Any, settings: Sequence[str], most: int
  ) -> Section:
    panels = []
    for number, condition in enumerate(conditions, 1):
      drawn = _drawn(read[number - 1][file], file, draw, settings, problems)
      for i, (run, figure, words) in enumerate(itertools.islice(drawn, most), 1):
        name = f"{title.lower().replace(' ', '-')}-condition-{number}-{i}"
        head = f"measured: {condition.label}: {run.name}"
        alt = f"{title}, {head}. {words}"
        panels.append(Panel(name, figure, head, alt, kind(condition), wide=True))
    return Section(title, caption, panels)

  # Figure 5 compares MBN's branches, Figure 6 is of 100% adv + 0% clean.
  found = (
    section(
      "Figure 5",
      "Running mean and variance of MBN's two branches, at some channels of one layer."
      " The paper prints a picture and no numbers.",
      files.STATISTICS,
      anatomy.running_figure,
      ("mbn", "mbn_alp", "mbn_star", "mbn_alp_star"),
      most=1,
    ),
    section(
      "Figure 6",
      "Running statistics beside those of two batches, 100% adv + 0% clean. The paper"
      " prints a picture and no numbers.",
      files.STATISTICS,
      anatomy.batch_figure,
      ("adv", "adv_star"),
      most=1,
    ),
    section(
      "Images",
      "Clean images, their adversarial ones, and the difference.",
      files.EXAMPLES,
      anatomy.panel_figure,
      ("adv_clean", "adv", "mbn", "mbn_alp", "alp", "gn", "clean"),
      most=3,
    ),
  )
  return [section for section in found if section.panels]


def _read(runs: Sequence[Run], file: str, problems: list[str]) -> list[tuple[Run, Any]]:
  found = []
  for run in runs:
    try:
      if os.path.lexists(run.path / file):
        found.append((run, files.INSPECTED[file](run.path / file)))
    except UserError as error:
      problems.append(clean(str(error).replace(str(run.path), run.name)))
  return found


def _drawn(
  read: Sequence[tuple[Run, Any]],
  file: str,
  draw: Callable[[Any], Figure],
  settings: Sequence[str],
  problems: list[str],
) -> Iterator[tuple[Run, Figure, str]]:
  """Pictures of runs, one a setting, and what they show in words.

  Where a run cannot be drawn, another run of the setting, or another setting, takes its
  place.
  """
  for setting in settings:
    for run, values in read:
      if run.setting.removesuffix("_eps8") != setting:
        continue
      try:
        figure, words = draw(values), _describe(values)
        figure.draw_without_rendering()
      except Exception as error:  # whatever it is, the rest of the report matters
        why = f"{type(error).__name__}: {error}"[:100]
        problems.append(clean(f"{run.name}/{file} cannot be drawn ({why})"))
        continue
      yield run, figure, words
      break


def _describe(values: Mapping[str, Any]) -> str:
  if "running" not in values:
    right = int((values["predicted_adv"] == values["label"]).sum())
    count = len(values["label"])
    return f"{right} of {count} adversarial images are classified rightly."
  means = (
    f"{branch}: mean of the running variances {np.mean(running['var']):.3g}"
    for branch, running in values["running"].items()
  )
  return f"Layer {values['layer']}; {'; '.join(means)}."
