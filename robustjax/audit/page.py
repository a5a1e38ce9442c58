"""The page of an audit: its verdict, every check, two curves and images to look at."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robustjax.audit.evidence import Evidence
from robustjax.audit.programs import Found
from robustjax.report.document import clean
from robustjax.report.drawing import Figure, SubFigure

# Colours that people with any colour vision tell apart (Okabe & Ito 2008).
COLOURS = {
  "clean": "#007A5A",
  "suspicious": "#B87700",
  "masked": "#C04A00",
  "not made": "#777777",
}
MEANING = {
  "clean": "no check found that an attack's success is too low",
  "suspicious": "signs that attacks may have missed something; no proof",
  "masked": "attacks miss what is there: an accuracy under attack says nothing",
}
# Which attack to show of an image that a check names.
_ATTACKS = {
  "black box": "square",
  "one step beats many": "fgsm",
  "scaled logits": "apgd-scaled",
  "margin loss": "apgd-margin",
  "low precision": "apgd-rounded",
}
_WIDTH = 10.0  # inches
_ROW = 0.2  # inches, of a line of the table
_WORDS = 84  # letters of a line that says what was measured
_SHOWN = 7  # images
_COLUMNS = (0.015, 0.185, 0.245, 0.31, 0.4, 0.87)


def page(
  result: Mapping[str, Any], evidence: Evidence, names: Sequence[str] = ()
) -> Figure:
  """The page.

  Args:
    result: what audit.json holds.
    evidence: of the same audit.
    names: of the classes; by default their numbers.
  """
  lines = [textwrap.wrap(clean(check["what"]), _WORDS) for check in result["checks"]]
  table = _ROW * (sum(max(len(text), 1) for text in lines) + 2)
  heights = [0.85, table, 2.8, 3.4]
  figure = Figure((_WIDTH, sum(heights)), layout="constrained")
  parts: Any = figure.subfigures(4, 1, height_ratios=heights)
  head, rows, curves, images = parts
  _draw_head(head, result)
  _draw_table(rows, result["checks"], lines)
  _draw_curves(curves, evidence)
  _draw_images(images, result["checks"], evidence, names)
  return figure


def _draw_head(figure: SubFigure, result: Mapping[str, Any]) -> None:
  verdict, about = result["verdict"], result["identity"]
  axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
  axes.axis("off")
  axes.axhspan(0.0, 1.0, color=COLOURS[verdict])
  axes.set(xlim=(0, 1), ylim=(0, 1))
  text: dict[str, Any] = {"color": "white", "va": "center", "parse_math": False}
  axes.text(0.015, 0.5, verdict, fontsize=24, weight="bold", **text)
  axes.text(0.985, 0.7, MEANING[verdict], fontsize=10, ha="right", **text)
  branch = "" if about["branch"] == "all" else f", branch {about['branch']}"
  step = f", step {about['step']}" if "step" in about else ""
  data = f" of {about['data']}" if "data" in about else ""
  norm = {"linf": "L-infinity", "l2": "L2"}[about["norm"]]
  name = textwrap.shorten(clean(str(about["network"])), 60, placeholder="…")
  line = f"{name}{branch}{step}; {about['images']} images{data}, {norm}"
  line += f" eps {about['eps']:g}"
  axes.text(0.985, 0.3, line, fontsize=9, ha="right", **text)


def _draw_table(
  figure: SubFigure, checks: Sequence[Mapping[str, Any]], lines: Sequence[list[str]]
) -> None:
  axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
  axes.axis("off")
  total = sum(max(len(text), 1) for text in lines) + 2
  axes.set(xlim=(0, 1), ylim=(total, 0))
  style: dict[str, Any] = {"fontsize": 8, "va": "center", "parse_math": False}
  heads = ("check", "number", "limit", "verdict", "what was measured", "images")
  for x, word in zip(_COLUMNS, heads, strict=True):
    axes.text(x, 0.6, word, color="#555555", **style)
  y = 1.5
  for check, text in zip(checks, lines, strict=True):
    height = max(len(text), 1)
    verdict = check["verdict"]
    colour = COLOURS[verdict]
    axes.axhline(y - 0.5, color="#dddddd", linewidth=0.6)
    if verdict in ("suspicious", "masked"):
      axes.axhspan(y - 0.5, y - 0.5 + height, color=colour, alpha=0.12, linewidth=0)
    shown = ", ".join(map(str, check["images"][:3]))
    shown += ", …" if len(check["images"]) > 3 else ""
    words = (check["name"], _number(check["number"]), _number(check["limit"]), verdict)
    for x, word in zip(_COLUMNS, words, strict=False):
      bold = "bold" if word == verdict and verdict != "clean" else "normal"
      shade = colour if word == verdict else "black"
      axes.text(x, y, word, color=shade, weight=bold, **style)
    for n, line in enumerate(text):
      axes.text(_COLUMNS[4], y + n, line, **(style | {"fontsize": 7}))
    axes.text(_COLUMNS[5], y, shown, **(style | {"fontsize": 7}))
    y += height


def _number(value: float | None) -> str:
  return "" if value is None else f"{value:.3g}"


def _draw_curves(figure: SubFigure, evidence: Evidence) -> None:
  by_eps, by_steps, by_loss = figure.subplots(1, 3)
  count = len(evidence.labels)
  rungs = [0.0, *evidence.ladder]
  right = [evidence.right.mean()]
  right += [(evidence.right & ~b).sum() / count for b in evidence.ladder.values()]
  by_eps.plot(range(len(rungs)), right, "o-", color="#0072B2", clip_on=False)
  by_eps.set_xticks(range(len(rungs)), [f"{rung:.3g}" for rung in rungs], fontsize=8)
  by_eps.set_xlabel(f"eps (PGD-{evidence.effort.steps})")
  most = evidence.effort.most
  steps = np.arange(most + 1)
  accuracy = [evidence.accuracy_after(int(n)) for n in steps]
  by_steps.plot(steps, accuracy, color="#0072B2", label="PGD")
  ends = {"FGSM": "fgsm", "Auto-PGD": "apgd-ce", "Square": "square"}
  for (label, name), colour in zip(ends.items(), _LINES, strict=True):
    if name in evidence.attacks:
      share = float((evidence.right & ~evidence.attacks[name].broken).sum() / count)
      by_steps.axhline(share, color=colour, linestyle="--", linewidth=1.2, label=label)
  by_steps.axvline(evidence.effort.steps, color="#999999", linewidth=0.8, zorder=0)
  by_steps.set_xlabel("steps")
  by_steps.legend(fontsize=7, loc="best")
  for axes in (by_eps, by_steps):
    axes.set_ylim(0, 1.03)
    axes.set_ylabel("accuracy")
  if evidence.count:
    loss = evidence.long["loss"][evidence.right]
    by_loss.plot(steps, np.median(loss, 0), color="#0072B2", label="median image")
    low, high = np.quantile(loss, (0.25, 0.75), 0)
    by_loss.fill_between(
      steps, low, high, color="#0072B2", alpha=0.2, linewidth=0, label="middle half"
    )
    by_loss.legend(fontsize=7, loc="best")
  by_loss.set_xlabel("steps")
  by_loss.set_ylabel("cross-entropy")
  for axes in (by_eps, by_steps, by_loss):
    axes.grid(alpha=0.3)


_LINES = ("#E69F00", "#D55E00", "#009E73")


def chosen(
  checks: Sequence[Mapping[str, Any]], evidence: Evidence
) -> list[tuple[int, str]]:
  """Rows of the images to show, and for each the attack to show.

  What failing checks name comes first, an image a check in turn; then what an attack
  broke; then any. An attack that broke the image is preferred.
  """
  row_of = {int(index): row for row, index in enumerate(evidence.indices)}
  failed = [c for c in checks if c["verdict"] in ("masked", "suspicious")]
  found: dict[int, str] = {}
  for turn in range(_SHOWN):
    for check in failed:
      if turn < len(check["images"]):
        row = row_of[check["images"][turn]]
        attack = _ATTACKS.get(check["name"], "")
        found.setdefault(row, attack if attack in evidence.attacks else "")
  broken = evidence.right & evidence.white_box
  rest = [*np.flatnonzero(broken), *np.flatnonzero(evidence.right), *row_of.values()]
  for row in rest:
    found.setdefault(int(row), "")
  return [(row, name or _breaks(evidence, row)) for row, name in found.items()][:_SHOWN]


def _breaks(evidence: Evidence, row: int) -> str:
  """The first attack that broke an image, or Auto-PGD."""
  names = (n for n in evidence.attacks if evidence.attacks[n].broken[row])
  return next(names, "apgd-ce")


def _draw_images(
  figure: SubFigure,
  checks: Sequence[Mapping[str, Any]],
  evidence: Evidence,
  names: Sequence[str],
) -> None:
  shown = chosen(checks, evidence)
  grid = figure.subplots(2, _SHOWN, squeeze=False)
  for axes in grid.flat:
    axes.set(xticks=[], yticks=[], frame_on=False)

  def name(label: int) -> str:
    text = names[label] if label < len(names) else f"class {label}"
    return textwrap.shorten(clean(str(text)), 18, placeholder="…")

  for column, (row, attack) in enumerate(shown):
    found: Found = evidence.attacks[attack]
    label, predicted = int(evidence.labels[row]), int(found.predicted[row])
    top, bottom = grid[:, column]
    _show(top, evidence.images[row])
    _show(bottom, found.adv[row])
    style: dict[str, Any] = {"fontsize": 8, "parse_math": False}
    top.set_title(f"image {evidence.indices[row]}\n{name(label)}", **style)
    colour = "black" if predicted == label else COLOURS["masked"]
    bottom.set_title(f"{attack}\n{name(predicted)}", color=colour, **style)
  grid[0, 0].set_ylabel("clean", fontsize=9)
  grid[1, 0].set_ylabel("attacked, taken for", fontsize=9)


def _show(axes: Any, image: Any) -> None:
  pixels = np.clip(np.nan_to_num(image) / 255.0, 0.0, 1.0)
  axes.imshow(pixels.squeeze(), vmin=0.0, vmax=1.0, cmap="gray")
