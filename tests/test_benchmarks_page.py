"""The tables say what was measured, and the page has the tables of its JSON."""

import json

import pytest
from cloud import REPO

from benchmarks import machine, page

CASE = {
  "title": "a step",
  "unit": "images/s",
  "work": 10,
  "flops": 3 * machine.PRODUCT,
  "apart": 0.0,
  "note": "",
  "seconds": {
    "robustjax": [1.0, 2.0, 1.5],
    "PyTorch, default layout": [9.0, 9.0, 0.1],
    "PyTorch, channels-last": [3.0, 2.0, 3.0],
    "matrices, XLA": [0.5, 0.25, 0.25],
    "matrices, PyTorch": [0.2, 0.1, 0.1],
  },
}
MEASURED = {
  "machine": "a machine, 2 cores",
  "versions": {"jax": "1"},
  "commit": "abc",
  "date": "2000-01-01",
  "rounds": 3,
  "load": [0.1, 2.0],
  "taken": 0.01,
  "warning": "",
  "cases": {"one": CASE},
  "start": {"cold": [20.0, 22.0, 30.0], "warm": [8.0, 7.0, 9.0]},
  "loop": {
    "loop": [0.11, 0.12, 0.10],
    "step": [0.10, 0.10, 0.10],
    "waits": [0.011, 0.012, 0.0],
    "images": [0.01, 0.02, 0.03],
  },
}


def test_the_best_is_by_the_median_and_ratios_are_of_one_round():
  assert page.best(CASE) == "PyTorch, channels-last"
  assert page.ratios(CASE) == [3.0, 1.0, 2.0]


def test_shares_are_of_the_faster_librarys_products():
  assert page.rate(CASE) == pytest.approx(machine.PRODUCT / 0.1)
  assert page.share(CASE, "robustjax") == pytest.approx(3 * 0.1 / 1.5)


@pytest.mark.parametrize(
  ("numbers", "text"),
  [
    ([3.0, 1.0, 2.0], "2.00 (1.00 to 3.00)"),
    ([1234.5, 99.5, 12.34], "99.5 (12.3 to 1,234)"),
  ],
)
def test_a_spread_is_the_median_with_the_extremes(numbers, text):
  assert page.spread(numbers) == text


def test_the_loops_rows_are_of_its_own_rounds():
  rows = page.tables(MEASURED).splitlines()
  (adds,) = (row for row in rows if "loop adds" in row)
  assert "10.0 (0.00 to 20.0) %" in adds
  (waits,) = (row for row in rows if "waiting" in row)
  assert "10.0 (0.00 to 10.0) %" in waits


def test_a_part_alone_has_its_own_tables_alone():
  some = {**MEASURED, "cases": {}}
  del some["loop"]
  tables = page.tables(some)
  assert "first step" in tables
  assert "PyTorch" not in tables and "loop" not in tables


def test_a_machine_that_was_not_quiet_says_so_first():
  tables = page.tables({**MEASURED, "warning": "the machine was not quiet"})
  assert tables.split("\n\n")[1].startswith("**Warning: the machine was not quiet.")


def test_only_the_generated_part_is_replaced():
  text = f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n"
  once = page.written(text, MEASURED)
  assert once.startswith(f"before\n{page.BEGIN}\n\na machine, 2 cores;")
  assert once.endswith(f"\n\n{page.END}\nafter\n")
  assert "old" not in once
  assert page.written(once, MEASURED) == once
  with pytest.raises(ValueError, match="needs a part"):
    page.written("nothing", MEASURED)


def test_the_page_has_what_its_json_says():
  docs = REPO / "docs"
  text, found = (docs / "performance.md").read_text(), docs / "performance.json"
  if found.exists():
    assert page.written(text, json.loads(found.read_text())) == text
  else:
    assert "Nothing is measured yet." in text
