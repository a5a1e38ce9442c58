"""The picture is drawn from files alone; its intervals are Wilson's."""

import json

import pytest
from test_table import EVALUATION

from robustjax.report import figures


def test_a_picture_of_a_run(tmp_path):
  config = {
    "setting": "s",
    "scale": "mini",
    "eval": {"eps": 16.0},
    "data": {"name": "d"},
  }
  (tmp_path / "config.json").write_text(json.dumps(config))
  (tmp_path / "evaluation.json").write_text(json.dumps(EVALUATION))
  path = figures.evaluation_figure(tmp_path)
  assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


@pytest.mark.parametrize(
  "correct, images, low, high",
  [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)],
)
def test_wilson_intervals(correct, images, low, high):
  assert figures.wilson(correct, images) == pytest.approx((low, high), abs=1e-3)
