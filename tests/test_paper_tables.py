"""The published numbers agree with each other, but for what a note names."""

import importlib
import itertools
import re
from pathlib import Path

import pytest

from robustjax.paper import figures
from robustjax.paper import tables as paper
from robustjax.paper.rows import CLEAN, STRONGEST

EXPERIMENTS = {
  path.stem
  for path in (Path(__file__).parents[1] / "experiments").glob("*.py")
  if path.stem != "published"  # of networks that are trained already
}
TABLES = {table.number: table for table in paper.TABLES}
ROWS = [(table, row) for table in paper.TABLES for row in table.rows]
ROW_7 = {row.setting: row for row in TABLES["7"].rows}


def value(setting, branch, reading):
  return paper.find(setting, branch)[reading].value


def name(row):
  return paper.SAME.get(row.setting, row.setting)


def all_cells():
  for table, row in ROWS:
    for reading, cell in row.cells.items():
      yield table, row, reading, cell


def test_every_table_and_figure_is_there():
  assert list(TABLES) == ["1", "2", "3", "4", "5", "6", "7", "4.4"]
  assert [figure.number for figure in figures.FIGURES] == [1, 2, 3, 7]
  sizes = {number: len(table.rows) for number, table in TABLES.items()}
  # Table 4: 5 strategies, Table 5: 6, each with 4 attacks. Table 7: 13 strategies with
  # PGD-30, 8 with each of 3 others, 4 batch sizes, 4 depths.
  assert sizes == {
    "1": 6, "2": 6, "3": 8, "4": 20, "5": 24, "6": 5, "7": 13 + 24 + 8, "4.4": 6,
  }  # fmt: skip


def test_rows_have_their_tables_columns():
  for table, row in ROWS:
    assert tuple(row.columns) == table.columns
    assert row.cells and set(row.cells) <= set(table.readings)
    assert row.branch in ("all", "adv", "clean")
    assert (row.branch != "all") == row.setting.startswith("mbn")
    assert row.label.startswith(f"MBN_{row.branch}, ") == (row.branch != "all")
    assert row.label.endswith("*") == bool(
      re.search(r"_star|batch_size|depth_\d+$", row.setting)
    )
  full = {(row.cells.keys() == set(TABLES["7"].readings)) for row in ROW_7.values()}
  assert full == {True}


def test_no_row_stands_twice():
  for table in paper.TABLES:
    keys = [(row.setting, row.branch, *row.cells) for row in table.rows]
    assert len(keys) == len(set(keys))


def settings():
  found = {row.setting for _, row in ROWS}
  for figure in figures.FIGURES:
    found |= {setting for series in figure.series for setting in series.settings}
  return sorted(found | set(paper.SAME) | set(paper.SAME.values()))


@pytest.mark.parametrize("setting", settings())
def test_every_setting_is_an_experiment(setting):
  stem = max((s for s in EXPERIMENTS if f"{setting}_".startswith(f"{s}_")), key=len)
  words = setting.removeprefix(stem).strip("_")
  words = words if stem == "bn_finetune" else words.replace("_", ",")
  get_config = importlib.import_module(f"experiments.{stem}").get_config
  assert get_config(words).setting == setting


def test_an_experiment_trains_as_the_table_says():
  for table, row in ROWS:
    wanted = re.search(r"_pgd(\d+)$", row.setting)
    if "PGD-N" in row.columns and not row.setting.startswith("alp_study"):
      assert row.columns["PGD-N"] == (wanted[1] if wanted else "30")
    if "network" in row.columns and table.number == "7":
      depth = re.search(r"depth_(\d+)", row.setting)
      assert row.columns["network"] == f"ResNet-{depth[1] if depth else 152}"


def test_cells_of_one_run_agree_in_all_tables():
  """Tables 1 to 6 and section 4.4 repeat Table 7 and each other."""
  found = {}
  for table, row, reading, cell in all_cells():
    found.setdefault((name(row), row.branch, reading), []).append((table.number, cell))
  for key, cells in found.items():
    values = {cell.value for _, cell in cells}
    assert len(values) == 1, (key, cells)
  repeated = {
    number for cells in found.values() if len(cells) > 1 for number, _ in cells
  }
  assert repeated == set(TABLES)


def test_table_7_repeats_every_robustness_of_tables_2_4_5_and_6():
  for number in ("2", "4", "5", "6"):
    for row in TABLES[number].rows:
      ours = ROW_7[name(row)].cells[STRONGEST]
      assert ours.value == row.cells[STRONGEST].value
      # An empty cell was taken from that table, so that it agrees with no merit.
      assert ours.printed or "table7_lost" in ours.notes


def test_a_lost_cell_is_named_and_the_same_run_has_it():
  lost = [(t, r, n, c) for t, r, n, c in all_cells() if not c.printed]
  assert lost
  for table, row, reading, cell in lost:
    assert any(note.endswith("_lost") for note in cell.notes)
    others = [
      other.value
      for t, r, n, other in all_cells()
      if (name(r), r.branch, n) == (name(row), row.branch, reading)
      and t != table
      and other.printed
    ]
    assert cell.value is None if not others else cell.value in others
  assert [(t.number, r.setting) for t, r, _, c in all_cells() if c.value is None] == [
    ("3", "alp_study_5")
  ]


def test_a_cell_is_what_is_printed():
  for _, _, _, cell in all_cells():
    if cell.value is not None:
      assert 0 <= cell.value <= 100 and round(cell.value, 1) == cell.value
    if re.fullmatch(r"[\d.]+", cell.printed):
      assert cell.value == float(cell.printed)
    else:
      assert re.fullmatch(r"[+-]\d+\.\d|", cell.printed)


# (better, worse, points): each a setting, branch and reading; the text's differences.
STATED = {
  "4.1: without clean images": (("adv", "all"), ("adv_clean", "all"), 18.3),
  "4.1: ALP": (("alp", "all"), ("adv_clean", "all"), 2.1),
  "4.3: running statistics": (("adv_star", "all"), ("adv", "all"), 3.0),
  "4.3: with MBN": (("mbn_star", "adv"), ("mbn", "adv"), 1.6),
  "4.3: with ALP": (("mbn_alp_star", "adv"), ("mbn_alp", "adv"), 2.8),
  "5: ResNet-338": (("depth_338", "all"), ("depth_152", "all"), 2.4),
  "A: the attack's steps": (("alp", "all"), ("alp_pgd10", "all"), 19.7),
}


@pytest.mark.parametrize("better, worse, points", STATED.values(), ids=STATED)
def test_differences_in_the_text(better, worse, points):
  found = value(*better, STRONGEST) - value(*worse, STRONGEST)
  assert found == pytest.approx(points)


def test_other_numbers_in_the_text():
  assert value("gn", "all", 500) - value("gn", "all", 2000) == pytest.approx(0.5)
  gain = value("depth_338_clean", "all", 0) - value("depth_152_clean", "all", 0)
  assert gain == pytest.approx(0.5)
  for batch in (1024, 2048):  # appendix B.3: "by ~1%"
    gain = value(f"batch_size_{batch}", "all", 2000) - value("adv_star", "all", 2000)
    assert gain == pytest.approx(1, abs=0.15)


def test_resnet_638s_clean_accuracy_contradicts_the_text():
  cell = paper.find("depth_638", "all")[CLEAN]
  base = value("depth_152", "all", CLEAN)
  assert cell.value != 68.7 and "r638_clean" in cell.notes
  for stated in (cell.value, 68.7):
    assert stated - base != pytest.approx(6.1)


def test_fewer_clean_images_help_but_for_the_noted():
  kept = ["adv_clean", "adv_clean_80", "adv_clean_60", "adv_clean_40", "adv_clean_20"]
  base = value("adv_clean", "all", STRONGEST)
  for setting in [*kept[1:], "adv"]:
    cell = paper.find(setting, "all")[STRONGEST]
    assert (cell.value > base) != ("more_clean" in cell.notes)


def test_more_steps_never_help_a_network():
  for row in ROW_7.values():
    for before, after in itertools.pairwise(row.cells.values()):
      assert before.value >= after.value


def test_the_last_step_is_small_where_robustness_is_secured():
  """Table 7's rows that the paper calls robust level out; the mixtures do not."""
  for setting, row in ROW_7.items():
    secured = not re.match(r"adv_clean|alp", setting)
    if re.search("_pgd", setting):  # at most a few points, after a weaker attack
      continue
    assert (row.cells[500].value - row.cells[2000].value < 1) == secured


def test_neighbouring_readings_are_near_but_for_the_doubtful():
  """PGD-20 costs a network that is robust a few points more than PGD-10."""
  for setting, row in ROW_7.items():
    if re.match(r"adv_clean|alp", setting):
      continue
    fall = row.cells[10].value - row.cells[20].value
    assert (0 < fall < 4) != ("table7_40_8" in row.cells[20].notes), setting


def test_running_statistics_cost_clean_accuracy_but_for_the_doubtful():
  for setting, row in ROW_7.items():
    if "_star" in setting:
      base = ROW_7[setting.replace("_star", "")].cells[CLEAN]
      doubtful = "table7_62_5" in base.notes
      assert (row.cells[CLEAN].value <= base.value) != doubtful


def test_running_statistics_raise_every_robustness():
  """Table 5: 'on all settings'."""
  rows = {row.setting: row.cells[2000].value for row in TABLES["5"].rows}
  pairs = [(rows[s], rows[s.replace("_star", "")]) for s in rows if "_star" in s]
  assert len(pairs) == 12 and all(star > base for star, base in pairs)


def test_table_3_changes_one_parameter_a_row_from_right_to_left():
  rows = TABLES["3"].rows
  changed = [
    [key for key in before.columns if before.columns[key] != after.columns[key]]
    for before, after in itertools.pairwise(rows)
  ]
  assert changed == [[key] for key in reversed(TABLES["3"].columns)]
  guessed = ["table3_order" in row.notes for row in rows]
  assert guessed == [False, *[True] * 5, False, False]


def test_find_takes_the_fullest_and_knows_the_same_runs():
  assert list(paper.find("adv", "all")) == [0, 10, 20, 100, 500, 2000]
  for setting, other in paper.SAME.items():
    assert paper.find(setting, "all") == paper.find(other, "all") != {}
  assert list(paper.find("mbn", "clean")) == [0]
  assert paper.find("mbn", "all") == paper.find("nothing", "all") == {}
  # A cell that Table 7 lost is the one that another table prints.
  for setting in ("mbn_pgd5", "mbn_alp_star_pgd10"):
    assert not ROW_7[setting].cells[2000].printed
    assert paper.find(setting, "adv")[2000].printed
