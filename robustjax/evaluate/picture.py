"""The picture of an evaluation: how many images are left after each attack."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustjax.evaluation.identity import in_words
from robustjax.report.drawing import Figure
from robustjax.report.intervals import wilson
from robustjax.runtime import files

PICTURE = "summary.png"


def draw(folder: Path, summary: Mapping[str, Any]) -> Path:
  """Draws the accuracy on clean images and after each attack.

  Args:
    folder: where summary.png goes.
    summary: what summary.json holds.

  Returns:
    The path of the picture.
  """
  identity, images = summary["identity"], summary["images"]
  names, left = ["clean"], [summary["clean"]]
  for attack in summary["attacks"]:
    names.append(attack["name"])
    left.append(left[-1] - attack["broken"])
  rates = [100 * count / images for count in left]
  figure = Figure(figsize=(1.6 + 1.0 * len(names), 4), layout="constrained")
  axes = figure.subplots()
  places = range(len(names))
  colours = ["tab:gray"] + ["tab:blue"] * (len(names) - 2) + ["tab:red"]
  bars = axes.bar(places, rates, color=colours[-len(names) :], width=0.7)
  bounds = [wilson(count, images) for count in left]
  below = [r - 100 * low for r, (low, _) in zip(rates, bounds, strict=True)]
  above = [100 * high - r for r, (_, high) in zip(rates, bounds, strict=True)]
  axes.errorbar(places, rates, [below, above], fmt="none", ecolor="black", capsize=3)
  labels = [f"{rate:.1f}" for rate in rates]
  axes.bar_label(bars, labels, padding=10, fontsize=9)
  axes.set_xticks(places, [names[0], *(f"+ {name}" for name in names[1:])], fontsize=9)
  axes.set_ylim(0, 108)
  axes.set_ylabel("images still right (%)")
  axes.grid(axis="y", alpha=0.3)
  axes.set_axisbelow(True)
  for side in ("top", "right"):
    axes.spines[side].set_visible(False)
  figure.suptitle(_title(identity, images), fontsize=9, parse_math=False)
  path = folder / PICTURE
  files.write_picture(path, figure)
  return path


def _title(identity: Mapping[str, Any], images: int) -> str:
  who, ball = in_words(identity)
  return f"{who}\n{images:,} images of {identity['data']}, {ball}"
