"""Pictures of a net from the inside: its statistics, and images beside their attacks.

Figures 5 and 6 of the paper, drawn from what `robustjax.inspect` writes.
"""

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from robustjax.report.curves import COLOURS
from robustjax.report.document import clean
from robustjax.report.drawing import Figure

_MOMENTS = {"mean": "mean", "var": "variance"}
_MARKERS = ("x", "+")  # of the two batches
_COLUMNS = 8  # images side by side
_SHOWN = 64  # images in a picture, of however many


def running_figure(statistics: Mapping[str, Any]) -> Figure:
  """Running mean and variance of each branch over the channels (paper Figure 5).

  Args:
    statistics: from `files.read_statistics`. Plain BN has the one branch "all".

  Returns:
    Two panels, a curve for each branch.
  """
  figure = Figure(figsize=(9, 3.4), layout="constrained")
  _head(figure, _title(statistics))
  _draw_running(figure, statistics)
  return figure


def batch_figure(statistics: Mapping[str, Any]) -> Figure:
  """Running statistics beside those of two batches (paper Figure 6).

  Args:
    statistics: from `files.read_statistics`.

  Returns:
    A row of two panels, mean and variance, for each branch.
  """
  height = 3 * len(statistics["running"]) + 0.4
  figure = Figure(figsize=(9, height), layout="constrained")
  _head(figure, _title(statistics))
  _draw_batches(figure, statistics)
  return figure


def statistics_figure(statistics: Mapping[str, Any]) -> Figure:
  """Both figures in one; of a single branch, `batch_figure` shows everything."""
  rows = len(statistics["running"])
  if rows == 1:
    return batch_figure(statistics)
  figure = Figure(figsize=(9, 3 * rows + 3.6), layout="constrained")
  _head(figure, _title(statistics))
  parts: Any = figure.subfigures(2, 1, height_ratios=(1, rows))
  _draw_running(parts[0], statistics)
  _draw_batches(parts[1], statistics)
  return figure


def panel_figure(examples: Mapping[str, npt.NDArray[Any]]) -> Figure:
  """Clean images, their adversarial ones, and the difference.

  The difference is amplified, so that a change of eps is black or white, and drawn
  around grey; the picture says by how much.

  Args:
    examples: from `files.read_examples`.

  Returns:
    A column for each of the first 64 images: what it is, what the attack wanted, what
    the network saw, in red if that is another class. Columns beyond the eighth are
    below.
  """
  count = min(len(examples["label"]), _SHOWN)
  columns = min(count, _COLUMNS)
  blocks = -(-count // columns)
  figure = Figure((1.35 * columns + 1.2, 4.85 * blocks), layout="constrained")
  lines = _head(figure, _panel_title(examples))
  figure.set_figheight(4.85 * blocks + 0.2 + 0.2 * lines)
  grid = figure.subplots(3 * blocks, columns, squeeze=False)
  for axes in grid.flat:
    axes.set(xticks=[], yticks=[], frame_on=False)
  factor = 127 / float(examples["eps"]) if examples["eps"] else 1.0
  words = ("clean", "adversarial", f"difference\n× {factor:.3g}, around grey")
  for i in range(count):
    block, column = divmod(i, columns)
    panels = grid[3 * block : 3 * block + 3, column]
    _draw_example(panels, examples, i, factor)
    if column == 0:
      for axes, word in zip(panels, words, strict=True):
        axes.set_ylabel(word, fontsize=9)
  return figure


def _head(figure: Figure, text: str) -> int:
  """Puts a title of as many lines as it needs over a figure; returns their number."""
  inches = figure.get_figwidth()
  lines = textwrap.wrap(text, int(10 * inches))
  # What stands in files is text, whatever dollar signs are in it.
  title = figure.suptitle("\n".join(lines), fontsize=10, parse_math=False)
  # Lines of wide letters are longer than most.
  share = title.get_window_extent().width / figure.dpi / (0.95 * inches)
  title.set_fontsize(10 / max(1.0, share))
  return len(lines)


def _short(text: Any, most: int) -> str:
  """A text from a file, in one line of at most so many letters."""
  text = clean(str(text))
  return text if len(text) <= most else f"{text[: most - 1]}\u2026"


def _panel_title(examples: Mapping[str, npt.NDArray[Any]]) -> str:
  run, step, steps, eps = (examples[name] for name in ("run", "step", "steps", "eps"))
  branch = examples["branch"]
  through = "" if branch == "all" else f", through the {branch} branch"
  attack = f"PGD-{steps}, eps {eps:g}{through}"
  return f"{_short(run, 60)}, step {step}: {attack}. Red: seen as another class"


def _draw_example(
  panels: Any, examples: Mapping[str, npt.NDArray[Any]], i: int, factor: float
) -> None:
  pixels, adv = (examples[name][i].astype(np.float32) for name in ("clean", "adv"))
  difference = 127.5 + factor * (adv - pixels)
  for axes, values in zip(panels, (pixels, adv, difference), strict=True):
    grey = values.shape[-1] == 1
    shown = np.clip(values[..., 0] if grey else values, 0, 255) / 255
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1)
  for axes, domain, word, wanted in (
    (panels[0], "clean", "is", "label"),
    (panels[1], "adv", "target", "target"),
  ):
    classes = [examples[name][i] for name in (wanted, f"predicted_{domain}")]
    named, predicted = (_short(examples["names"][label], 14) for label in classes)
    colour = "black" if classes[1] == examples["label"][i] else "tab:red"
    text = f"{word}: {named}\nseen: {predicted}"
    axes.set_title(text, fontsize=8, color=colour, parse_math=False)


def _draw_running(figure: Any, statistics: Mapping[str, Any]) -> None:
  for axes, (moment, word) in zip(figure.subplots(1, 2), _MOMENTS.items(), strict=True):
    for branch, values in statistics["running"].items():
      _draw_curve(axes, values[moment], branch, f"{branch} branch")
    _dress(axes, statistics["channels"], f"running {word}")


def _draw_batches(figure: Any, statistics: Mapping[str, Any]) -> None:
  grid = figure.subplots(len(statistics["running"]), 2, squeeze=False)
  for row, (branch, values) in zip(grid, statistics["running"].items(), strict=True):
    images = " + ".join(
      f"{count} {domain}" for domain, count in statistics["domains"][branch].items()
    )
    of = "" if branch == "all" else f", {branch} branch"
    for axes, (moment, word) in zip(row, _MOMENTS.items(), strict=True):
      _draw_curve(axes, values[moment], branch, "running")
      for i, batch in enumerate(statistics["batches"][branch]):
        label = f"batch {i + 1}: {images} images"
        points = {"linestyle": "", "marker": _MARKERS[i], "markersize": 6}
        axes.plot(batch[moment], "black", label=label, **points)
      _dress(axes, statistics["channels"], word + of)


def _draw_curve(axes: Any, values: list[float], branch: str, label: str) -> None:
  colour = COLOURS.get(branch, "black")
  axes.plot(values, color=colour, marker="o", markersize=4, linewidth=1, label=label)


def _dress(axes: Any, channels: list[int], word: str) -> None:
  axes.set_xticks(range(len(channels)), [str(c) for c in channels], fontsize=7)
  if len(channels) > 12:
    axes.tick_params(axis="x", rotation=90)
  axes.set_xlabel("channel", fontsize=9)
  axes.set_ylabel(word, fontsize=9)
  axes.tick_params(axis="y", labelsize=8)
  axes.grid(alpha=0.3)
  axes.legend(fontsize=7)


def _title(statistics: Mapping[str, Any]) -> str:
  run, step, layer = (statistics[name] for name in ("run", "step", "layer"))
  return f"{_short(run, 60)}, step {step}: statistics of {_short(layer, 60)}"
