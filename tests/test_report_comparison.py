"""Published numbers are all there; a measured one says what it is of."""

import pytest
import report_runs as make

from robustjax.paper import notes
from robustjax.paper import tables as paper
from robustjax.paper.rows import TARGETED
from robustjax.report import comparison, conditions
from robustjax.report import runs as finder

NOTES = {key: number for number, key in enumerate(notes.NOTES, 1)}
TABLES = {table.number: table for table in paper.TABLES}
NONE = (conditions.PAPER,)


def group(folder):
  found, problems = finder.find([folder])
  assert not problems
  return conditions.group(found)[0]


def words(cell):
  return cell.text


def table_of(number, groups):
  return comparison.compare(TABLES[number], groups, NOTES)


def column(table, kind):
  return [words(c) for row in table.body for c in row if kind in c.kind.split()]


@pytest.mark.parametrize("number", TABLES)
def test_every_published_number_is_there_with_its_notes(number):
  table = table_of(number, NONE)
  cells = [cell for row in TABLES[number].rows for cell in row.cells.values()]
  shown = [c for row in table.body for c in row if "published" in c.kind.split()]
  shown = [cell for cell in shown if cell.text]
  assert len(shown) == len(cells)
  for cell, published in zip(shown, cells, strict=True):
    if published.value is None:
      assert "missing" in cell.kind
    else:
      assert float(words(cell)) == pytest.approx(published.value, abs=0.051)
    assert cell.notes == [NOTES[key] for key in published.notes]


@pytest.mark.parametrize("number", TABLES)
def test_every_table_says_what_targeted_numbers_are_not(number):
  assert table_of(number, NONE).caption.endswith(f" in %. {TARGETED}")


def test_differences_are_resolved_and_shown_as_printed():
  star = table_of("2", NONE).body[1][1]
  assert words(star) == "42.2" and star.small[-1] == "printed +3.0"


def test_nothing_measured_says_so():
  assert set(column(table_of("2", NONE), "paper")) == {"not run"}


def test_a_miniature_stands_in_a_column_of_its_own(tmp_path):
  make.make(tmp_path / "x", "adv", {"all": make.MINI})
  table = table_of("2", group(tmp_path))
  heads = [words(cell).replace("\xa0", " ") for cell in table.head]
  assert heads[2:] == ["measured: ImageNet, eps 16", "measured: miniature, eps 32"]
  assert set(column(table, "paper")) == {"not run"}
  assert column(table, "other")[0] == "79.0\xa0% at PGD-100"


def test_a_weaker_attack_is_named_and_stands_in_for_the_strongest_alone(tmp_path):
  make.make(tmp_path / "x", "adv", {"all": make.MINI})
  rows = table_of("7", group(tmp_path)).body
  at = [i for i, row in enumerate(rows) if words(row[0]) == "100% adv + 0% clean"][0]
  texts = [words(cell).replace("\xa0", " ") for cell in rows[at + 1]]
  assert texts == [
    "miniature, eps 32",
    *["81.2 %", "80.0 %", "79.5 %", "79.0 %", "not read", "79.0 % at PGD-100"],
  ]


def test_clean_accuracy_never_stands_in_for_robustness(tmp_path):
  make.make(tmp_path / "x", "adv", {"all": {0: 900}})
  table = table_of("2", group(tmp_path))
  assert column(table, "other")[0] == "not read"


def test_the_paper_condition_stands_beside_the_published(tmp_path):
  counts = {n: round(500 * y) for n, y in make.PAPER.items()}
  make.make(tmp_path / "x", "mbn", {"adv": counts}, images=50000, scale="paper")
  table = table_of("4", group(tmp_path))
  assert len(table.head) == 4
  found = dict(
    zip([words(r[0]) + words(r[1]) for r in table.body], table.body, strict=True)
  )
  row = found["MBN_adv, 100% adv + 100% clean30"]
  assert [words(cell) for cell in row[2:]] == ["38.3", "38.3\xa0%"]
  assert "19,150 of 50,000 images (x, seed 0)" in row[3].title


def test_a_run_under_way(tmp_path):
  make.metrics(make.make(tmp_path / "x", "adv"), (540, 3.47))
  assert column(table_of("2", group(tmp_path)), "other")[:2] == [
    "training 43\xa0%",
    "not run",
  ]


def test_settings_that_are_one_run_at_the_papers_scale_alone(tmp_path):
  counts = {"all": {0: 31000, 2000: 21000}}
  make.make(tmp_path / "x", "depth_152", counts, images=50000, scale="paper")
  make.make(tmp_path / "y", "depth_152", {"all": make.MINI})
  table = table_of("6", group(tmp_path))
  assert column(table, "paper")[0] == "42.0\xa0%"
  assert not column(table, "other")


def test_seeds_and_guesses_and_counts(tmp_path):
  for seed, correct in enumerate((700, 720, 770)):
    counts = {"all": {0: 900, 100: correct}}
    make.make(tmp_path / f"s{seed}", "adv", counts, guesses=["a=1"], seed=seed)
  table = table_of("2", group(tmp_path))
  cell = table.body[0][3]
  assert words(cell) == "73.0\xa0% at PGD-100"
  assert "a=1" in cell.guesses
  assert cell.small[-1] == "3 runs: 70.0–77.0"
  ((line,),) = table.folded.values()
  for seed, correct in enumerate((700, 720, 770)):
    assert f"{correct} of 1,000 images (s{seed}, seed {seed})" in line


def test_what_the_standard_left_stands_with_the_strongest_reading_alone(tmp_path):
  for seed, images in enumerate((1000, 500)):
    run = make.make(tmp_path / f"s{seed}", "mbn", {"adv": make.MINI}, seed=seed)
    make.suite(run, lines=make.ledger(250 * seed + 250, 500, images))
    make.audit(run, "masked" if seed else "clean")
  make.make(tmp_path / "s2", "mbn", {"adv": make.MINI}, seed=2)
  groups = group(tmp_path)
  cell = next(c for row in table_of("4", groups).body for c in row if "79.0" in c.text)
  texts = [text.replace("\xa0", " ") for text in cell.small[-2:]]
  assert texts == ["standard: 62.5 % of 500 images, 2 of 3 runs", "audit: masked"]
  shown = [c for row in table_of("7", groups).body for c in row if "standard" in
           " ".join(c.small)]  # fmt: skip
  assert [words(c).replace("\xa0", " ") for c in shown] == ["79.0 % at PGD-100"]
