"""The picture that a run ends with: accuracy by steps, a curve for each branch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robustjax.report.drawing import Figure
from robustjax.report.files import names_of
from robustjax.report.intervals import wilson
from robustjax.runtime import files

EVALUATION = "evaluation.png"
COLOURS = {"clean": "tab:blue", "adv": "tab:red", "all": "tab:gray"}  # of branches


def evaluation_figure(workdir: Path) -> Path:
  """Accuracy against the number of PGD steps, a curve for each branch.

  The form of the paper's Figures 2 and 3, with the clean accuracy at 0 steps and 95 %
  Wilson intervals of the counts. What adaptive attacks left stands to the right, with
  a dotted line across the picture: how far the curve lies above is how far targeted
  PGD flatters the branch.

  Args:
    workdir: of a finished run: evaluation.json and config.json are read.

  Returns:
    The path of the picture, evaluation.png in the workdir.
  """
  evaluation, config = (
    files.read_json(workdir / name) for name in ("evaluation.json", "config.json")
  )
  eps, images = config["eval"]["eps"], evaluation["rows"][0]["images"]
  title = f"{config['setting']}, {config['scale']} scale: {config['data']['name']},"
  title += f" {images:,} images, eps {eps:g}"
  path = workdir / EVALUATION
  draw(path, title, evaluation["rows"], evaluation.get("adaptive", []))
  return path


def draw(
  path: Path,
  title: str,
  rows: Sequence[Mapping[str, Any]],
  adaptive: Sequence[Mapping[str, Any]] = (),
) -> None:
  """Draws readings, and beside them what adaptive attacks left.

  Args:
    path: of the picture.
    title: above it.
    rows: as evaluation.json has them.
    adaptive: the same.
  """
  names = list(dict.fromkeys(names_of(row["attack"]) for row in adaptive))
  figure = Figure(figsize=(6.4 + len(names), 4.2), layout="constrained")
  widths = [5, 1.4 * len(names)][: 2 if names else 1]
  axes, *beside = figure.subplots(
    1, len(widths), sharey=True, squeeze=False, width_ratios=widths
  )[0]
  _readings(axes, rows)
  for other in beside:
    _adaptive(axes, other, names, adaptive)
  figure.suptitle(title, fontsize=10, parse_math=False)
  files.write_picture(path, figure)


def _readings(axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
  for branch in dict.fromkeys(row["branch"] for row in rows):
    own = [row for row in rows if row["branch"] == branch]
    counted = [(row["correct"], row["images"]) for row in own]
    _points(axes, [row["steps"] for row in own], counted, branch, "o-")
  steps = sorted({row["steps"] for row in rows})
  axes.set_xscale("symlog", linthresh=min(filter(None, steps), default=1))
  axes.set_xticks(steps, [f"{n}" if n else "clean" for n in steps])
  axes.minorticks_off()
  axes.set_ylim(-2, 102)  # a marker at 0 is seen whole
  axes.set_xlabel(
    "steps of targeted PGD with random targets\n"
    "(the paper's protocol, no measure of robustness)"
  )
  axes.set_ylabel("accuracy (%)")
  axes.grid(alpha=0.3)
  # What stands in files is text, whatever dollar signs are in it.
  for text in axes.legend(title="branch").get_texts():
    text.set_parse_math(False)


def _adaptive(
  axes: Any, beside: Any, names: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
  """A place for each list of attacks; a line through both pictures at each rate."""
  branches = list(dict.fromkeys(row["branch"] for row in rows))
  for row in rows:
    x, count = names.index(names_of(row["attack"])), (row["robust"], row["images"])
    rate = 100 * count[0] / count[1]
    _points(beside, [x], [count], row["branch"], "D")
    colour = COLOURS.get(row["branch"], "black")
    for level in (axes, beside):
      level.axhline(rate, color=colour, linestyle=":", linewidth=1.2)
    # Two branches may have one rate: their numbers stand on two sides of the point.
    left = branches.index(row["branch"]) % 2
    place = {"textcoords": "offset points", "ha": "right" if left else "left"}
    offset = (-7 if left else 7, 1)
    beside.annotate(
      f"{rate:.1f}", (x, rate), offset, color=colour, fontsize=9, va="bottom", **place
    )
  beside.set_xlim(-0.5, len(names) - 0.5)
  labels = [name.replace(", ", ",\n") for name in names]
  beside.set_xticks(range(len(names)), labels, parse_math=False)
  images = max(row["images"] for row in rows)
  beside.set_xlabel(f"adaptive attacks,\n{images:,} images")
  beside.grid(alpha=0.3, axis="y")


def _points(
  axes: Any,
  xs: Sequence[float],
  counted: Sequence[tuple[int, int]],
  branch: str,
  form: str,
) -> None:
  """Rates in % with their intervals."""
  rates = [100 * correct / images for correct, images in counted]
  bounds = [[100 * bound for bound in wilson(*count)] for count in counted]
  below = [rate - low for rate, (low, _) in zip(rates, bounds, strict=True)]
  above = [high - rate for rate, (_, high) in zip(rates, bounds, strict=True)]
  colour = COLOURS.get(branch, "black")
  axes.errorbar(
    xs, rates, (below, above), fmt=form, color=colour, capsize=3, label=branch
  )
