"""The picture is drawn from files alone; its intervals are Wilson's."""

import json

import pytest
import report_runs as make
from test_table import EVALUATION

from robustjax.report import figures

LARGE = (10**4, 10**8, 10**12)


@pytest.mark.parametrize("setting", ["s", "$\\bad{$"])
@pytest.mark.parametrize("readings", [(0, 10, 20), (0,), (10,)])
def test_a_picture_of_a_run(tmp_path, setting, readings):
  config = {
    "setting": setting,
    "scale": "mini",
    "eval": {"eps": 16.0},
    "data": {"name": "d"},
  }
  (tmp_path / "config.json").write_text(json.dumps(config))
  (tmp_path / "evaluation.json").write_text(json.dumps(_evaluation(setting, readings)))
  path = figures.evaluation_figure(tmp_path)
  assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


def _evaluation(branch, readings):
  """Of a branch in which every image is right: rates at the end of their interval."""
  rows = [make.row(branch, steps, 21, 21, 16.0) for steps in readings]
  return {**EVALUATION, "rows": [*rows, *make.evaluation({"b": {0: 0}})["rows"]]}


def test_wilson_intervals_hold_their_rate():
  counts = [(k, n) for n in range(1, 60) for k in range(n + 1)]
  counts += [(k, 10**12) for k in (0, 1, 10**11, 10**12 - 1, 10**12)]
  for correct, images in counts:
    low, high = figures.wilson(correct, images)
    assert 0 <= low <= correct / images <= high <= 1
  assert high - low < 1e-11


def test_wilson_intervals_narrow_with_the_root_of_the_images():
  widths = [high - low for low, high in (figures.wilson(n // 2, n) for n in LARGE)]
  for few, many, n in zip(widths, widths[1:], LARGE, strict=False):
    assert few / many == pytest.approx(100, rel=10 / n)
  assert widths[-1] == pytest.approx(1.96e-6, rel=1e-6)


@pytest.mark.parametrize(
  "correct, images, low, high",
  [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)],
)
def test_wilson_intervals(correct, images, low, high):
  assert figures.wilson(correct, images) == pytest.approx((low, high), abs=1e-3)
