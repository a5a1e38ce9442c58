"""Every number is drawn where it belongs, each condition in a panel of its own."""

import pytest
import report_runs as make

from robustjax.paper import figures as paper
from robustjax.paper.notes import NOTES
from robustjax.paper.rows import TARGETED
from robustjax.report import conditions, figures
from robustjax.report import runs as finder

FIGURES = {figure.number: figure for figure in paper.FIGURES}


def panels(number, folder=None):
  groups = [conditions.PAPER]
  if folder:
    groups, _ = conditions.group(finder.find([folder])[0])
  return figures.section(FIGURES[number], groups, dict.fromkeys(NOTES, 1)).panels


def drawn(panel):
  """Label -> (colour, points) of the curves of a panel."""
  found = {}
  for axes in panel.figure.axes:
    for container in axes.containers:
      line = container.lines[0]
      points = list(zip(line.get_xdata(), line.get_ydata(), strict=True))
      found[container.get_label()] = line.get_color(), points
  return found


@pytest.mark.parametrize("number", [2, 3, 7])
def test_every_published_point_is_drawn(number):
  (panel,) = panels(number)
  found = drawn(panel)
  for series in FIGURES[number].series:
    given = [(x, y) for x, y in series.points if y is not None]
    assert found[series.label][1] == given
    assert all(f"{y:.1f}" in panel.alt for _, y in given)


def test_the_bars_of_figure_1():
  (panel,) = panels(1)
  heights = {b.get_x() + b.get_width() / 2: b.get_height() for b in bars(panel)}
  assert heights == pytest.approx(dict(FIGURES[1].series[0].points))


def bars(panel):
  return panel.figure.axes[0].patches


def test_a_condition_has_a_panel_with_the_same_colours(tmp_path):
  make.make(tmp_path / "a", "adv", {"all": make.MINI})
  make.make(tmp_path / "b", "adv_clean", {"all": make.MINI})
  published, mini = panels(2, tmp_path)
  assert (published.kind, mini.kind) == ("published", "other")
  assert mini.title.replace("\xa0", " ") == "measured: miniature, eps 32"
  of_paper, of_mini = drawn(published), drawn(mini)
  assert len(of_mini) == 2
  for label, (colour, points) in of_mini.items():
    assert colour == of_paper[label][0]
    assert [round(y, 6) for _, y in points] == [80.0, 79.5, 79.3, 79.0]
  assert len({colour for colour, _ in of_paper.values()}) == 3


def test_intervals_hold_their_number(tmp_path):
  make.make(tmp_path / "a", "adv", {"all": make.MINI})
  _, mini = panels(2, tmp_path)
  (container,) = mini.figure.axes[0].containers
  for (_, y), bar in zip(
    drawn(mini)["100% adv + 0% clean"][1],
    container.lines[2][0].get_segments(),
    strict=True,
  ):
    (_, low), (_, high) = bar
    assert low < y < high and 4 < high - low < 6


def test_a_panel_names_the_attack_that_all_its_runs_have(tmp_path):
  make.make(tmp_path / "a", "adv", {"all": make.MINI})
  make.make(tmp_path / "b", "adv_clean_40", {"all": {0: 900, 50: 600}})
  make.make(tmp_path / "c", "adv_clean_60", {"all": {0: 900}})
  published, mini = panels(1, tmp_path)
  assert "PGD-2000" in published.figure.axes[0].get_ylabel()
  assert "PGD-50" in mini.figure.axes[0].get_ylabel()
  assert sorted(bar.get_height() for bar in bars(mini)) == pytest.approx([60, 79.3])


def test_depth_at_mini_scale_says_that_it_is_not_the_papers(tmp_path):
  make.make(tmp_path / "a", "depth_338", {"all": make.MINI})
  _, mini = panels(7, tmp_path)
  assert "the miniature's nets are shallower" in mini.figure.axes[0].get_xlabel()
  assert drawn(mini)["100% adv + 0% clean*"][1] == [(338.0, 79.0)]


@pytest.mark.parametrize("number", FIGURES)
def test_no_figure_shows_targeted_numbers_as_robustness(number):
  section = figures.section(
    FIGURES[number], [conditions.PAPER], dict.fromkeys(NOTES, 1)
  )
  title, said = section.caption.split(". ", 1)
  assert said == TARGETED and "robust" not in title.lower()
  for panel in section.panels:
    assert "robust" not in panel.title + panel.alt
    for axes in panel.figure.axes:
      assert "robust" not in axes.get_xlabel() + axes.get_ylabel()
