"""The paper's figures, as far as its tables and text give their numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from robustjax.paper import rows, tables
from robustjax.paper.rows import CLEAN, STRONGEST


@dataclass(frozen=True)
class Series:
  """A line of a figure.

  Attributes:
    label: the strategy as the paper names it.
    points: (x, accuracy in percent), None where the text gives no number.
    settings: of each point.
    branch: of all points.
    reading: of each point, in attack steps.
  """

  label: str
  points: tuple[tuple[float, float | None], ...]
  settings: tuple[str, ...]
  branch: str
  reading: tuple[int, ...]


@dataclass(frozen=True)
class Figure:
  """A figure of the paper, as far as tables and text give its numbers.

  Attributes:
    number: of the figure.
    title: short.
    x: what the horizontal axis says.
    y: what the vertical axis says.
    series: its lines.
    notes: keys of `notes.NOTES`.
  """

  number: int
  title: str
  x: str
  y: str
  series: tuple[Series, ...]
  notes: tuple[str, ...] = ()


def _series(
  xs: Sequence[float],
  settings: Sequence[str],
  readings: Sequence[int],
  branch: str = "all",
  label: str = "",
) -> Series:
  points = []
  for x, setting, reading in zip(xs, settings, readings, strict=True):
    cell = tables.find(setting, branch).get(reading)
    points.append((float(x), cell.value if cell else None))
  label = label or rows.label_of(settings[0], branch)
  return Series(label, tuple(points), tuple(settings), branch, tuple(readings))


def _curve(setting: str, branch: str = "all") -> Series:
  readings = (10, 20, 100, 500, STRONGEST)
  return _series(readings, [setting] * len(readings), readings, branch)


def _figures() -> tuple[Figure, ...]:
  portions = {
    100: "adv_clean", 80: "adv_clean_80", 60: "adv_clean_60", 40: "adv_clean_40",
    20: "adv_clean_20", 0: "adv",
  }  # fmt: skip
  mixtures = _series(
    list(portions),
    list(portions.values()),
    [STRONGEST] * 6,
    label="100% adv + x% clean",
  )
  depths = (152, 200, 338, 518, 638)
  adv = _series(depths, [f"depth_{n}" for n in depths], [STRONGEST] * 5)
  clean = _series(depths, [f"depth_{n}_clean" for n in depths], [CLEAN] * 5)
  steps, accuracy = "steps of the attack", "accuracy (%)"
  return (
    Figure(
      1, "Accuracy under attack and the portion of clean images in training",
      "clean images kept in training (%)", accuracy, (mixtures,), ("more_clean",),
    ),
    Figure(
      2, "Strategies with plain BN against more and more steps", steps, accuracy,
      (_curve("adv"), _curve("adv_clean"), _curve("alp")),
    ),
    # The text names the curves of MBN_adv; it calls them new, so that Figure 2's curve
    # of adversarial images alone, which they are compared with, stands beside them.
    Figure(
      3, "MBN against more and more steps", steps, accuracy,
      (_curve("adv"), _curve("mbn", "adv"), _curve("mbn_alp", "adv")),
    ),
    Figure(
      7, "Depth, for adversarial and for clean training", "depth (layers)", accuracy,
      (adv, clean), ("clean_depth",),
    ),
  )  # fmt: skip


FIGURES: tuple[Figure, ...] = _figures()
