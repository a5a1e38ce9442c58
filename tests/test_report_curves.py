"""A run's picture shows all its counts, and what adaptive attacks left beside them."""

import json

import matplotlib.figure
import pytest
import report_runs as make
from test_report_table import EVALUATION

from robustjax.report import curves

BOTH = {"clean": {0: 816, 10: 640, 100: 556}, "adv": {0: 811, 10: 795, 100: 784}}


def write(folder, found, setting="s"):
  config = {
    "setting": setting,
    "scale": "mini",
    "eval": {"eps": 16.0},
    "data": {"name": "d"},
  }
  (folder / "config.json").write_text(json.dumps(config))
  (folder / "evaluation.json").write_text(json.dumps(found))
  return curves.evaluation_figure(folder)


@pytest.fixture
def axes(monkeypatch):
  """The axes of the pictures that are saved."""
  found = []
  save = matplotlib.figure.Figure.savefig

  def saved(figure, *arguments, **values):
    found.extend(figure.axes)
    save(figure, *arguments, **values)

  monkeypatch.setattr(matplotlib.figure.Figure, "savefig", saved)
  return found


@pytest.mark.parametrize("setting", ["s", "$\\bad{$"])
@pytest.mark.parametrize("readings", [(0, 10, 20), (0,), (10,)])
def test_a_picture_of_a_run(tmp_path, setting, readings):
  rows = [make.row(setting, steps, 21, 21, 16.0) for steps in readings]
  rows += make.evaluation({"b": {0: 0}})["rows"]
  # Every image is right, or none: rates at the ends of their intervals.
  adaptive = [
    make.adaptive(setting, 21, 21),
    make.adaptive("b", 0, attack="$\\bad{$,x"),
  ]
  found = {**EVALUATION, "rows": rows, "adaptive": adaptive}
  path = write(tmp_path, found, setting)
  assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


def test_every_reading_is_drawn_and_called_what_it_is(tmp_path, axes):
  write(tmp_path, make.evaluation(BOTH))
  (alone,) = axes
  for branch, container in zip(BOTH, alone.containers, strict=True):
    line = container.lines[0]
    assert container.get_label() == branch
    assert list(line.get_xdata()) == list(BOTH[branch])
    assert list(line.get_ydata()) == [n / 10 for n in BOTH[branch].values()]
  assert "targeted PGD" in alone.get_xlabel()
  assert "no measure of robustness" in alone.get_xlabel()


def test_what_adaptive_attacks_left_is_a_level_beside_each_curve(tmp_path, axes):
  found = make.evaluation(BOTH)
  found["adaptive"] = [make.adaptive("clean", 150), make.adaptive("adv", 660)]
  write(tmp_path, found)
  readings, beside = axes
  colours = {c.get_label(): c.lines[0].get_color() for c in readings.containers}
  levels = {
    line.get_color(): line.get_ydata()[0]
    for line in readings.lines
    if line.get_linestyle() == ":"
  }
  assert levels == {colours["clean"]: 15.0, colours["adv"]: 66.0}
  points = {c.get_label(): c.lines[0].get_ydata()[0] for c in beside.containers}
  assert points == {"clean": 15.0, "adv": 66.0}
  assert [text.get_text() for text in beside.texts] == ["15.0", "66.0"]
  assert [t.get_text() for t in beside.get_xticklabels()] == ["apgd-ce,\napgd-t"]
  assert "adaptive" in beside.get_xlabel() and "1,000 images" in beside.get_xlabel()
