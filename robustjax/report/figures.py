"""Pictures of a run, from its files."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

EVALUATION = "evaluation.png"
COLOURS = {"clean": "tab:blue", "adv": "tab:red", "all": "tab:gray"}


def evaluation_figure(workdir: Path) -> Path:
  """Accuracy against the number of PGD steps, a curve for each branch.

  The form of the paper's Figures 2 and 3, with the clean accuracy at 0 steps and 95 %
  Wilson intervals of the counts.

  Args:
    workdir: of a finished run: evaluation.json and config.json are read.

  Returns:
    The path of the picture, evaluation.png in the workdir.
  """
  evaluation = json.loads((workdir / "evaluation.json").read_text())
  config = json.loads((workdir / "config.json").read_text())
  figure = Figure(figsize=(6.4, 4), layout="constrained")
  axes = figure.subplots()
  branches = list(dict.fromkeys(row["branch"] for row in evaluation["rows"]))
  for branch in branches:
    rows = [row for row in evaluation["rows"] if row["branch"] == branch]
    _curve(axes, branch, rows)
  positions = [
    row["steps"] for row in evaluation["rows"] if row["branch"] == branches[0]
  ]
  attacked = [steps for steps in positions if steps]
  axes.set_xscale("symlog", linthresh=min(attacked, default=1))
  axes.set_xticks(positions, [f"{n}" if n else "clean" for n in positions])
  axes.minorticks_off()
  axes.set_ylim(0, 100)
  axes.set_xlabel("attack iterations (PGD-N)")
  axes.set_ylabel("accuracy (%)")
  axes.grid(alpha=0.3)
  # What stands in files is text, whatever dollar signs are in it.
  for text in axes.legend(title="branch").get_texts():
    text.set_parse_math(False)
  eps, images = config["eval"]["eps"], evaluation["rows"][0]["images"]
  axes.set_title(
    f"{config['setting']}, {config['scale']} scale: {config['data']['name']},"
    f" {images:,} images, eps {eps:g}",
    fontsize=10,
    parse_math=False,
  )
  path = workdir / EVALUATION
  figure.savefig(path, dpi=150)
  return path


def _curve(axes: Any, branch: str, rows: list[dict[str, Any]]) -> None:
  steps = [row["steps"] for row in rows]
  rates = [100 * row["accuracy"] for row in rows]
  bounds = [wilson(row["correct"], row["images"]) for row in rows]
  below = [rate - 100 * low for rate, (low, _) in zip(rates, bounds, strict=True)]
  above = [100 * high - rate for rate, (_, high) in zip(rates, bounds, strict=True)]
  colour = COLOURS.get(branch, "black")
  axes.errorbar(
    steps, rates, (below, above), color=colour, marker="o", capsize=3, label=branch
  )


def wilson(correct: int, images: int, z: float = 1.96) -> tuple[float, float]:
  """The Wilson score interval of a binomial rate.

  Args:
    correct: successes.
    images: trials, at least 1.
    z: 1.96 for 95 %.

  Returns:
    (low, high), within 0..1 and around the rate.
  """
  rate, square = correct / images, z * z / images
  centre = (rate + square / 2) / (1 + square)
  half = z * (rate * (1 - rate) / images + square / images / 4) ** 0.5 / (1 + square)
  # Rounding must not leave a rate of 0 or 1 outside its interval.
  return max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))
