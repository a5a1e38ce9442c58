"""The paper's Figures 1, 2, 3 and 7, published and measured."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from robustjax.paper import figures as paper
from robustjax.paper.rows import TARGETED
from robustjax.report.comparison import kind, look_up, names
from robustjax.report.conditions import PAPER_SCALE, Condition
from robustjax.report.document import Panel, Section
from robustjax.report.drawing import Figure
from robustjax.report.numbers import attack

SIZE = (4.7, 4.0)  # inches: legible on a telephone's whole width

# Colours that people with any colour vision tell apart (Okabe & Ito 2008), and a shape
# for each, by what the training mixes.
_STYLES = {
  "clean": ("#000000", "P"),
  "adv": ("#D55E00", "o"),
  "adv_clean": ("#0072B2", "s"),
  "alp": ("#56B4E9", "^"),
  "mbn": ("#009E73", "D"),
  "mbn_alp": ("#CC79A7", "v"),
  "gn": ("#E69F00", "X"),
}


class Point(NamedTuple):
  """A number in %, and the bounds of its 95 % interval (itself if published)."""

  x: float
  y: float
  low: float
  high: float
  setting: str = ""


class Line(NamedTuple):
  """A series as it is drawn: `against` is "PGD-2000", or "" for all that were read."""

  label: str
  setting: str
  points: tuple[Point, ...]
  against: str


def section(
  figure: paper.Figure, conditions: Sequence[Condition], notes: Mapping[str, int]
) -> Section:
  """A panel of the published numbers, and one for each condition that has some.

  Args:
    figure: from `paper.figures.FIGURES`.
    conditions: with their runs.
    notes: a key of `paper.notes.NOTES` -> its number.

  Returns:
    The panels under their heading, the published one first.
  """
  lines = [_published(series) for series in figure.series]
  panels = [_panel("published", figure, lines, None)]
  for number, condition in enumerate(conditions, 1):
    lines = [line for s in figure.series if (line := _measured(s, condition)).points]
    if lines:
      panels.append(_panel(f"condition-{number}", figure, lines, condition))
  numbers = [notes[key] for key in figure.notes]
  return Section(
    f"Figure {figure.number}", f"{figure.title}. {TARGETED}", panels, numbers
  )


def _panel(
  name: str, figure: paper.Figure, lines: Sequence[Line], condition: Condition | None
) -> Panel:
  title = f"measured: {condition.label}" if condition else "published"
  drawn = Figure(figsize=SIZE, layout="constrained")
  if figure.number == 1:
    _bars(drawn, figure, *lines)
  elif figure.number == 7:
    _two_axes(drawn, figure, lines, not condition or condition.scale == PAPER_SCALE)
  else:
    _curves(drawn, figure, lines)
  role = kind(condition) if condition else "published"
  name = f"figure-{figure.number}-{name}"
  return Panel(name, drawn, title, _alt(figure, title, lines), role)


def _is_trajectory(series: paper.Series) -> bool:
  """Whether x is the reading: a curve over the steps of the attack."""
  return [x for x, _ in series.points] == list(series.reading)


def _published(series: paper.Series) -> Line:
  given = zip(series.points, series.settings, strict=True)
  points = tuple(
    Point(x, y, y, y, setting) for (x, y), setting in given if y is not None
  )
  against = "" if _is_trajectory(series) else attack(max(series.reading))
  return Line(series.label, series.settings[0], points, against)


def _measured(series: paper.Series, condition: Condition) -> Line:
  setting = series.settings[0]
  if _is_trajectory(series):
    steps = [n for n in _readings(condition, setting, series.branch) if n]
    wanted = [(float(n), setting, n) for n in steps]
    against = ""
  else:
    reading = _common_reading(series, condition)
    xs = [x for x, _ in series.points]
    wanted = [(x, s, reading) for x, s in zip(xs, series.settings, strict=True)]
    against = attack(reading)
  points = []
  for x, name, reading in wanted:
    found = look_up(condition, name, series.branch, reading, last=False).measurement
    if found:
      low, high = found.count.interval
      points.append(Point(x, 100 * found.mean, 100 * low, 100 * high, name))
  return Line(series.label, setting, tuple(points), against)


def _common_reading(series: paper.Series, condition: Condition) -> int:
  """The published reading if every run has it, or the strongest that all have."""
  published = max(series.reading)
  found = [
    set(_readings(condition, name, series.branch)) - {0} for name in series.settings
  ]
  shared = set.intersection(*filter(None, found)) if any(found) else set()
  return published if published in {0, *shared} else max(shared, default=published)


def _readings(condition: Condition, setting: str, branch: str) -> list[int]:
  found = (condition.readings(name, branch) for name in names(condition, setting))
  return next(filter(None, found), [])


def _style(setting: str) -> tuple[str, str]:
  """The colour and the marker of a setting: those of its strategy."""
  if re.match(r"(depth|batch_size)_", setting):
    return _STYLES["clean" if setting.endswith("_clean") else "adv"]
  fitting = [name for name in _STYLES if f"{setting}_".startswith(f"{name}_")]
  return _STYLES[max(fitting, key=len)] if fitting else ("#666666", "o")


def _errors(points: Sequence[Point]) -> tuple[list[float], list[float]] | None:
  """How far the intervals reach; None if the points have none."""
  if all(point.low >= point.high for point in points):
    return None
  below = [max(0.0, p.y - p.low) for p in points]
  return below, [max(0.0, p.high - p.y) for p in points]


def _draw(
  axes: Any,
  points: Sequence[Point],
  colour: str,
  marker: str,
  label: str,
  dashed: bool = False,
) -> Any:
  return axes.errorbar(
    [point.x for point in points],
    [point.y for point in points],
    _errors(points),
    color=colour,
    marker=marker,
    markersize=6,
    linestyle="--" if dashed else "-",
    capsize=3,
    label=label,
  )


def _draw_line(axes: Any, line: Line, aside: float = 1.0) -> Any:
  points = [point._replace(x=point.x * aside) for point in line.points]
  return _draw(axes, points, *_style(line.setting), line.label, "_star" in line.setting)


def _ticks(axes: Any, lines: Sequence[Line]) -> None:
  ticks = sorted({point.x for line in lines for point in line.points})
  axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
  axes.grid(alpha=0.3)


def _legend(drawn: Figure, handles: Any, labels: Sequence[str]) -> None:
  drawn.legend(handles, labels, loc="outside lower center", fontsize=9, frameon=False)


def _curves(drawn: Figure, figure: paper.Figure, lines: Sequence[Line]) -> None:
  axes = drawn.subplots()
  for i, line in enumerate(lines):
    # A little to the side of each other, so that intervals can be told apart.
    aside = 0.03 * (i - (len(lines) - 1) / 2) if _errors(line.points) else 0.0
    _draw_line(axes, line, 1 + aside)
  axes.set_xscale("log")
  _ticks(axes, lines)
  axes.minorticks_off()
  axes.set_xlabel(figure.x)
  axes.set_ylabel(figure.y)
  _legend(drawn, *axes.get_legend_handles_labels())


def _bars(drawn: Figure, figure: paper.Figure, line: Line) -> None:
  axes, points = drawn.subplots(), line.points
  colours = [_style(point.setting)[0] for point in points]
  xs, ys = [point.x for point in points], [point.y for point in points]
  axes.bar(xs, ys, width=13, yerr=_errors(points), capsize=3, color=colours)
  above: Any = {"textcoords": "offset points", "ha": "center", "fontsize": 9}
  for point in points:
    axes.annotate(f"{point.y:.1f}", (point.x, point.high), (0, 3), **above)
  axes.set_xlim(-12, 112)
  axes.set_ylim(0, 1.12 * max(1.0, *(point.high for point in points)))
  axes.set_xticks([0, 20, 40, 60, 80, 100])
  axes.set_xlabel(figure.x)
  axes.set_ylabel(f"accuracy against {line.against} (%)")


def _two_axes(
  drawn: Figure, figure: paper.Figure, lines: Sequence[Line], paper_scale: bool
) -> None:
  """A vertical axis for each line, of the same span: equal gains look equal."""
  left = drawn.subplots()
  both = [left, left.twinx()] if len(lines) > 1 else [left]
  ends = [
    (min(p.low for p in line.points), max(p.high for p in line.points))
    for line in lines
  ]
  span = 1.2 * max(4.0, *(high - low for low, high in ends))
  handles = []
  for axes, line, (low, high) in zip(both, lines, ends, strict=True):
    handles.append(_draw_line(axes, line))
    middle = (low + high) / 2
    axes.set_ylim(middle - span / 2, middle + span / 2)
    what = "clean" if line.against == "clean" else f"against {line.against}"
    axes.set_ylabel(f"accuracy, {what} (%)", color=_style(line.setting)[0])
  _ticks(left, lines)
  meaning = "" if paper_scale else "\n(the paper's; the miniature's nets are shallower)"
  left.set_xlabel(figure.x + meaning)
  sides = zip(lines, ("left axis", "right axis"), strict=False)
  _legend(drawn, handles, [f"{line.label} ({side})" for line, side in sides])


def _alt(figure: paper.Figure, title: str, lines: Sequence[Line]) -> str:
  texts = []
  for line in lines:
    numbers = ", ".join(f"{point.x:g}: {point.y:.1f}" for point in line.points)
    name = ", ".join(filter(None, (line.label, line.against)))
    texts.append(f"{name}: {numbers}")
  what = f"Figure {figure.number}, {title}. {figure.y} by {figure.x}"
  return f"{what}. {'; '.join(texts)}."
