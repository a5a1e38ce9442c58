"""A published network that was measured is a line of its row, and of no other."""

import json

import pytest
import report_runs as make
from test_report_content import build, markdown

from robustjax.report import cards
from robustjax.report import runs as finder

COUNTS = {0: 31150, 10: 26200, 100: 20900, 1000: 19500}


def card(run, **changed):
  """Writes the card of FD's network into a run's folder."""
  rows = [
    {"name": "n", "attack": "pgd-random" if steps else "none", "steps": steps,
     "eps": 16.0 if steps else 0.0, "images": 50000, "correct": correct,
     "accuracy": correct / 50000, "published": 50.0, "agrees": steps != 10}
    for steps, correct in COUNTS.items()
  ]  # fmt: skip
  rows.append({**rows[-1], "attack": "standard", "steps": 0, "correct": 1})
  found = {"title": "FD's ResNet-152", "setting": "adv", "rows": rows, **changed}
  (run / cards.CARD).write_text(json.dumps(found))
  return rows


@pytest.fixture
def run(tmp_path):
  return make.make(tmp_path / "runs" / "fd", "imported", overrides={"seed": 3})


def lines(found, table):
  grid = found.tables[table].grid()
  return [row for row in grid if cards.SOURCE in [cell.text for cell in row]]


def test_it_is_a_line_of_table_7(run):
  card(run)
  found = build(run.parent)
  (line,) = lines(found, "7")
  texts = [cell.text.replace("\N{NO-BREAK SPACE}", " ") for cell in line[2:]]
  assert texts == ["62.3 %", "52.4 %", "not read", "41.8 %", "not read", "not read"]
  assert line[2].kind == "paper" and "31,150 of 50,000 images" in line[2].title
  assert "not reproduced" in line[3].small and "not reproduced" not in line[2].small
  # Below the published line of its own row, which is of PGD-30.
  rows = list(found.tables["7"].grid())
  above = rows[rows.index(line) - 1]
  assert above[0].text == "100% adv + 0% clean" and "PGD-N 30" in above[0].small[0]
  counted = found.tables["7"].folded["Counts behind 3 numbers"]
  assert counted[1].startswith("100% adv + 0% clean, PGD-10, published weights")
  assert "| published weights, measured here" in markdown(found)
  others = found.tables.keys() - {"7"}
  assert not any(lines(found, number) for number in others)


def test_a_network_of_no_row_and_another_eps_are_in_none(run):
  rows = card(run, setting="")
  assert not lines(build(run.parent), "7")
  card(run, rows=[{**row, "eps": 8.0} for row in rows[1:-1]])
  (line,) = lines(build(run.parent), "7")
  assert {cell.text for cell in line[2:]} == {"not read"}


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"rows": 3}, "its rows is 3"),
    ({"rows": [{"attack": "none"}]}, "row 1: it has no steps"),
    ({"title": None}, "its title is None"),
  ],
)
def test_damage_is_named(run, change, message):
  card(run, **change)
  found, problems = finder.find([run.parent])
  assert found[0].card is None
  assert problems == [f"fd/card.json is damaged: {message}"]


@pytest.mark.parametrize("changed", [{"correct": 50001}, {"images": 0}, {"agrees": 1}])
def test_impossible_counts_are_damage(run, changed):
  first, *rows = card(run)
  card(run, rows=[first | changed, *rows])
  assert "card.json is damaged: row 1: " in finder.find([run.parent])[1][0]
  card(run, rows=[first, first])
  assert "a reading is there twice" in finder.find([run.parent])[1][0]
