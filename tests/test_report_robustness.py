"""Runs against adaptive attacks, and in pairs: nothing stands where nothing was run."""

import json

import pytest
import report_runs as make

from robustjax.paper.rows import TARGETED
from robustjax.report import conditions, robustness
from robustjax.report import runs as finder

BOTH = {"adv": make.MINI, "clean": {0: 816, 10: 640, 100: 556}}


def find(folder):
  found, problems = finder.find([folder])
  assert not problems
  return found


def group(folder):
  return conditions.group(find(folder))[0]


def lines(table):
  """(run, branch) -> heading -> cell."""
  heads = [cell.text for cell in table.head]
  return {
    (row[0].text, row[1].text): dict(zip(heads, row, strict=True)) for row in table.body
  }


def words(cell):
  return cell.text.replace("\xa0", " ")


def end(run, *adaptive):
  found = json.loads((run / "evaluation.json").read_text())
  found["adaptive"] = list(adaptive)
  (run / "evaluation.json").write_text(json.dumps(found))


def test_runs_with_targeted_readings_alone_have_no_table(tmp_path):
  make.make(tmp_path / "x", "mbn", BOTH)
  assert robustness.table(find(tmp_path)) is None
  assert not any(map(robustness.pairs, group(tmp_path)))


def test_each_branch_has_its_own_numbers(tmp_path):
  run = make.make(tmp_path / "x", "mbn", BOTH)
  make.make(tmp_path / "y", "adv", {"all": make.MINI})
  end(run, make.adaptive("clean", 150), make.adaptive("adv", 700, 1000, "pgd"),
      make.adaptive("adv", 670))  # fmt: skip
  make.suite(run)
  make.suite(run, "other", make.ledger(100, 400, 500), branch="clean")
  make.audit(run, "masked", "clean")
  found = lines(robustness.table(find(tmp_path)))
  names = ("clean", "targeted PGD", "adaptive", "standard", "audit")
  texts = {key: [words(row[name]) for name in names] for key, row in found.items()}
  assert texts == {
    ("x", "adv"): ["81.2 %", "79.0 %", "67.0 %", "66.0 %", "not run"],
    ("x", "clean"): ["81.6 %", "55.6 %", "15.0 %", "20.0 %", "masked"],
    ("y", "all"): ["81.2 %", "79.0 %", "not run", "not run", "not run"],
  }
  assert found["x", "adv"]["adaptive"].small[0] == "apgd-ce, apgd-t"
  assert found["x", "adv"]["targeted PGD"].small[0] == "PGD-100"
  assert found["x", "adv"]["standard"].small == ["63.0–68.9"]
  assert found["x", "clean"]["standard"].small[-1] == "500 images"
  assert found["x", "clean"]["standard"].title == "100 of 500 images"


def test_what_a_run_ends_with_is_enough_for_the_table(tmp_path):
  run = make.make(tmp_path / "x", "mbn", BOTH)
  end(run, make.adaptive("clean", 150))
  found = lines(robustness.table(find(tmp_path)))
  assert words(found["x", "clean"]["adaptive"]) == "15.0 %"
  assert words(found["x", "adv"]["adaptive"]) == "not run"


def test_the_table_says_what_targeted_numbers_are_not(tmp_path):
  make.audit(make.make(tmp_path / "x", "mbn", BOTH))
  assert robustness.table(find(tmp_path)).caption.endswith(TARGETED)


def test_clean_readings_alone_are_no_readings_against_an_attack(tmp_path):
  make.audit(make.make(tmp_path / "x", "adv", {"all": {0: 900}}), branch="all")
  make.make(tmp_path / "y", "adv", {"all": {10: 900}})
  found = lines(robustness.table(find(tmp_path)))
  assert words(found["x", "all"]["targeted PGD"]) == "not run"
  assert words(found["y", "all"]["clean"]) == "not run"


def test_what_no_column_shows_is_listed(tmp_path):
  run = make.make(tmp_path / "x", "mbn", BOTH)
  make.suite(run)
  make.suite(run, "hybrid", attack_branch="clean")
  make.suite(run, "weak", make.ledger(300, 400, 500), attack="apgd-ce,pgd", step=None)
  make.suite(make.make(tmp_path / "y", "adv"), branch="all")  # not yet evaluated
  make.suite(run, "ending", attack="a,b")
  end(run, make.adaptive("adv", 660, attack="a,b"))
  make.audit(run, "suspicious")
  make.audit(run, name="good")
  folded = robustness.table(find(tmp_path)).folded
  assert folded["Other evaluations"] == [
    "x/hybrid: standard, branch adv, attacked through clean, linf, eps 32,"
    " fashion_mnist_mini:1.0.0 test, step 1,248: 660 robust and 811 clean of 1,000"
    " images",
    "x/weak: apgd-ce, pgd, branch adv, linf, eps 32, fashion_mnist_mini:1.0.0 test:"
    " 300 robust and 400 clean of 500 images",
    "y/standard: standard, branch all, linf, eps 32, fashion_mnist_mini:1.0.0 test,"
    " step 1,248: 660 robust and 811 clean of 1,000 images",
  ]
  assert folded["What audits found"] == [
    "x, adv branch: steps, suspicious: more steps break more",
    "x, adv branch: steps, not made: more steps break more",
    "x, adv branch: steps, not made: more steps break more",
  ]


def rival(folder, name="b", robust=600, images=1000, seed=0, **changed):
  run = make.make(folder / name, "adv_clean", {"all": make.MINI}, seed=seed)
  make.suite(run, "s", make.ledger(robust, 811, images), branch="all", **changed)


def pairs(folder):
  """What stands beside the claim that MBN is more robust than plain BN."""
  tables = list(filter(None, map(robustness.pairs, group(folder))))
  rows = [row for table in tables for row in table.body]
  return [
    [words(cell) for cell in row] for row in rows if "same mix" in row[0].small[0]
  ]


def test_a_claim_is_compared_image_by_image(tmp_path):
  other = {"network": "elsewhere", "weights": "of its own", "seed": 7}
  make.suite(make.make(tmp_path / "a", "mbn", BOTH), **other)
  rival(tmp_path)
  (row,) = pairs(tmp_path)
  assert row == ["a, adv branch against b", "standard", "66.0 %", "60.0 %", "60", "0",
                 "+6.0", "< 0.0001"]  # fmt: skip


def test_branches_of_one_run_are_compared(tmp_path):
  run = make.make(tmp_path / "a", "mbn", BOTH)
  make.suite(run)
  make.suite(run, "c", make.ledger(659, 816, 1000), branch="clean")
  (table,) = filter(None, map(robustness.pairs, group(tmp_path)))
  (row,) = table.body
  assert [words(cell) for cell in row][:1] == ["a, adv branch against a, clean branch"]
  assert [words(cell) for cell in row][-2:] == ["+0.1", "1.0000"]


@pytest.mark.parametrize(
  "changed",
  [
    {"images": 999},
    {"attack": "apgd-ce"},
    {"steps": 10},
    {"indices": "of others"},
    {"eps": 16.0},
    {"norm": "l2"},
    {"split": "train"},
    {"attack_branch": "clean"},
  ],
)
def test_other_attacks_or_images_are_not_compared(tmp_path, changed):
  make.suite(make.make(tmp_path / "a", "mbn", BOTH))
  rival(tmp_path, **changed)
  assert not pairs(tmp_path)


def test_the_standard_and_one_seed_come_first(tmp_path):
  for seed in (0, 1):
    run = make.make(tmp_path / f"a{seed}", "mbn", BOTH, seed=seed)
    make.suite(run, "m", make.ledger(1, 811, 2000), attack="apgd-ce")
    make.suite(run, "n")
  rival(tmp_path, "b1", seed=1)
  rival(tmp_path, "b2", 1, 2000, seed=2, attack="apgd-ce")
  (row,) = pairs(tmp_path)
  assert row[:2] == ["a1, adv branch against b1", "standard"]


def test_other_conditions_are_not_compared(tmp_path):
  make.suite(make.make(tmp_path / "a", "mbn", BOTH))
  run = make.make(tmp_path / "b", "adv_clean", {"all": make.MINI}, eps=64.0)
  make.suite(run, branch="all", eps=64.0)
  assert not pairs(tmp_path)


def test_weights_of_a_file_stand_by_the_attacks_on_them(tmp_path):
  own = {"init": {"run": "", "weights": "R9.pth sha256:12"}}
  said = {"step": 0, "branch": "all"}
  run = make.make(tmp_path / "known", "imported_R9", **own)
  make.suite(run, **said)
  make.suite(run, "far", eps=64.0, **said)
  make.make(tmp_path / "idle", "imported_R9", **own)
  run = make.make(
    tmp_path / "unsaid", "imported_R9", overrides={"eval.eps": 0.0}, **own
  )
  make.suite(run, **said)
  found = lines(robustness.table(find(tmp_path)))
  assert found.keys() == {("known", "all"), ("unsaid", "all")}
  names = ("eps", "clean", "targeted PGD", "adaptive", "standard")
  for row in found.values():
    texts = [words(row[name]) for name in names]
    assert texts == ["32", "81.1 %", "not run", "not run", "66.0 %"]
