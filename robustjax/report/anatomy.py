"""Pictures of a net from the inside: its statistics, and images beside their attacks.

They are drawn from statistics.json and examples.npz, which `robustjax.inspect` writes.
"""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from robustjax.errors import UserError
from robustjax.report.document import clean
from robustjax.report.figures import COLOURS

STATISTICS = "statistics.json"
EXAMPLES = "examples.npz"

Arrays = dict[str, npt.NDArray[Any]]

_MOMENTS = {"mean": "mean", "var": "variance"}
_MARKERS = ("x", "+")  # of the two batches
_COLUMNS = 8  # images side by side
_SHOWN = 64  # images in a picture, of however many
_BATCHES = 2

# What no whole number and no statistic of a net that still computes is above.
_MOST, _LARGEST = 10**12, 1e30
# A smaller eps than this, of 255, cannot be told from none.
_LEAST_EPS = 1e-3


def read_statistics(path: Path) -> dict[str, Any]:
  """What statistics.json holds.

  Returns:
    "run", its name; "step" of the checkpoint; "layer", its name; "seed"; "images", how
    many a batch was drawn from the training images; "channels", numbers of channels;
    "running", branch -> {"mean", "var"}, each a value a channel; "batches", branch ->
    the same of two batches; "domains", branch -> domain -> how many images of it were
    in a batch.

  Raises:
    UserError: the file is missing or damaged.
  """
  try:
    found = json.loads(path.read_text(encoding="utf-8"))
    _check_statistics(found)
  except FileNotFoundError as error:
    raise _missing(path) from error
  except Exception as error:  # a damaged file can make anything of what reads it
    raise _damaged(path) from error
  return found


def read_examples(path: Path) -> Arrays:
  """What examples.npz holds.

  Returns:
    "clean" uint8 and "adv" float32, [n, h, w, c] with 1 or 3 channels, pixels in
    0..255; "index", "label", "target", "predicted_clean", "predicted_adv", [n], whole
    numbers; "names" [classes] of the classes; and, of shape [], "run", "step" of the
    checkpoint, "branch", and "eps" and "steps" of the attack.

  Raises:
    UserError: the file is missing or damaged.
  """
  try:
    with path.open("rb") as whole, np.load(whole, allow_pickle=False) as file:
      found = {name: file[name] for name in file.files}
    _check_examples(found)
  except FileNotFoundError as error:
    raise _missing(path) from error
  except Exception as error:  # zipfile, zlib and numpy have many words for damage
    raise _damaged(path) from error
  return found


def running_figure(statistics: Mapping[str, Any]) -> Figure:
  """Running mean and variance of each branch over the channels (paper Figure 5).

  Args:
    statistics: from `read_statistics`. Plain BN has the one branch "all".

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
    statistics: from `read_statistics`.

  Returns:
    A row of two panels, mean and variance, for each branch.
  """
  rows = len(statistics["running"])
  figure = Figure(figsize=(9, 3 * rows + 0.4), layout="constrained")
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
    examples: from `read_examples`.

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
  clean, adv = (examples[name][i].astype(np.float32) for name in ("clean", "adv"))
  for axes, pixels in zip(
    panels, (clean, adv, 127.5 + factor * (adv - clean)), strict=True
  ):
    grey = pixels.shape[-1] == 1
    shown = np.clip(pixels[..., 0] if grey else pixels, 0, 255) / 255
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1)
  label, target = (int(examples[name][i]) for name in ("label", "target"))
  for axes, kind, wanted in (
    (panels[0], "clean", ("is", label)),
    (panels[1], "adv", ("target", target)),
  ):
    predicted = int(examples[f"predicted_{kind}"][i])
    lines = [f"{wanted[0]}: {_name(examples, wanted[1])}"]
    lines.append(f"seen: {_name(examples, predicted)}")
    colour = "black" if predicted == label else "tab:red"
    axes.set_title("\n".join(lines), fontsize=8, color=colour, parse_math=False)


def _name(examples: Mapping[str, npt.NDArray[Any]], label: int) -> str:
  return _short(examples["names"][label], 14)


def _draw_running(figure: Any, statistics: Mapping[str, Any]) -> None:
  panels = figure.subplots(1, 2)
  for axes, (moment, word) in zip(panels, _MOMENTS.items(), strict=True):
    for branch, values in statistics["running"].items():
      _curve(axes, values[moment], branch, f"{branch} branch")
    _dress(axes, statistics["channels"], f"running {word}")


def _draw_batches(figure: Any, statistics: Mapping[str, Any]) -> None:
  grid = figure.subplots(len(statistics["running"]), 2, squeeze=False)
  for row, (branch, values) in zip(grid, statistics["running"].items(), strict=True):
    images = " + ".join(
      f"{count} {domain}" for domain, count in statistics["domains"][branch].items()
    )
    for axes, (moment, word) in zip(row, _MOMENTS.items(), strict=True):
      _curve(axes, values[moment], branch, "running")
      for number, batch in enumerate(statistics["batches"][branch], 1):
        _points(axes, batch[moment], number, f"batch {number}: {images} images")
      of = "" if branch == "all" else f", {branch} branch"
      _dress(axes, statistics["channels"], word + of)


def _curve(axes: Any, values: list[float], branch: str, label: str) -> None:
  colour = COLOURS.get(branch, "black")
  axes.plot(values, color=colour, marker="o", markersize=4, linewidth=1, label=label)


def _points(axes: Any, values: list[float], number: int, label: str) -> None:
  marker = _MARKERS[(number - 1) % len(_MARKERS)]
  axes.plot(values, "black", linestyle="", marker=marker, markersize=6, label=label)


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


def _check_statistics(found: Any) -> None:
  """Raises an error, of no certain kind, if a part is wrong."""
  channels, branches = found["channels"], found["running"].keys()
  _need(all(_is_whole(found[name]) for name in ("step", "images", "seed")))
  _need(all(isinstance(found[name], str) for name in ("run", "layer")))
  _need(isinstance(channels, list) and channels and all(map(_is_whole, channels)))
  _need(branches and branches <= COLOURS.keys())
  _need(branches == found["batches"].keys() == found["domains"].keys())
  for branch in branches:
    batches, domains = found["batches"][branch], found["domains"][branch]
    _need(isinstance(batches, list) and len(batches) == _BATCHES)
    _need(domains.keys() <= {"clean", "adv"} and all(map(_is_whole, domains.values())))
    for values in (found["running"][branch], *batches):
      for moment in _MOMENTS:
        _need(len(values[moment]) == len(channels))
        _need(all(map(_is_statistic, values[moment])))


def _check_examples(found: Arrays) -> None:
  """Raises an error, of no certain kind, if a part is wrong."""
  pixels, adv, count = found["clean"], found["adv"], len(found["clean"])
  _need(pixels.ndim == 4 and pixels.dtype == np.uint8 and pixels.size > 0)
  _need(pixels.shape[-1] in (1, 3))
  # Not a number is outside of all bounds.
  _need(adv.dtype == np.float32 and adv.shape == pixels.shape)
  _need(((adv > -1) & (adv < 256)).all())
  kinds = {"run": "U", "branch": "U", "eps": "fiu", "step": "iu", "steps": "iu"}
  for name, kind in kinds.items():
    _need(found[name].shape == () and found[name].dtype.kind in kind)
  _need(0 <= found["step"] <= _MOST and 0 <= found["steps"] <= _MOST)
  _need(found["eps"] == 0 or _LEAST_EPS <= found["eps"] <= 255)
  names = found["names"]
  _need(names.ndim == 1 and names.dtype.kind == "U")
  for name in ("index", "label", "target", "predicted_clean", "predicted_adv"):
    _need(found[name].dtype.kind in "iu" and found[name].shape == (count,))
    _need(found[name].min() >= 0)
    _need(name == "index" or found[name].max() < len(names))


def _need(sound: Any) -> None:
  if not sound:
    raise ValueError


def _is_whole(value: Any) -> bool:
  return type(value) is int and 0 <= value <= _MOST


def _is_statistic(value: Any) -> bool:
  """Whether it is a number, and a finite one that can be drawn."""
  return type(value) in (int, float) and -_LARGEST <= value <= _LARGEST


def _missing(path: Path) -> UserError:
  return UserError(f"there is no {path}: python -m robustjax.inspect RUN writes it")


def _damaged(path: Path) -> UserError:
  return UserError(f"{path} is damaged: python -m robustjax.inspect RUN writes it anew")
