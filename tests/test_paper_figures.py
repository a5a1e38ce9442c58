"""The figures draw what the tables and the text say."""

import re

from robustjax.paper import figures, tables


def test_figures_draw_what_the_tables_say():
  for figure in figures.FIGURES:
    for series in figure.series:
      drawn = zip(series.points, series.settings, series.reading, strict=True)
      for (_, y), setting, reading in drawn:
        cell = tables.find(setting, series.branch).get(reading)
        assert y == (cell.value if cell else None)


def test_only_figure_7s_clean_training_has_gaps():
  gaps = [
    (figure.number, x)
    for figure in figures.FIGURES
    for series in figure.series
    for x, y in series.points
    if y is None
  ]
  assert gaps == [(7, 200.0), (7, 518.0), (7, 638.0)]


def test_depth_and_portion_are_on_the_axis():
  (mixtures,) = figures.FIGURES[0].series
  assert [x for x, _ in mixtures.points] == [100, 80, 60, 40, 20, 0]
  for series in figures.FIGURES[-1].series:
    depths = [float(re.search(r"\d+", setting)[0]) for setting in series.settings]
    assert [x for x, _ in series.points] == depths
