"""Only what may be compared stands together; a number says which runs it is of."""

import pytest
import report_runs as make

from robustjax.report import conditions, figures
from robustjax.report import runs as finder
from robustjax.report.document import SPACE


def group(folder):
  found, problems = finder.find([folder])
  assert not problems
  return conditions.group(found)


def labels(groups):
  return {
    c.label.replace(SPACE, " "): [run.name for run in c.runs] for c in groups if c.runs
  }


def test_conditions_keep_apart_what_differs(tmp_path):
  make.make(tmp_path / "mini")
  make.make(tmp_path / "mini16", "mbn_eps8", eps=16.0)
  make.make(tmp_path / "paper", scale="paper")
  make.make(tmp_path / "paper8", "adv_clean_eps8", scale="paper", eps=8.0)
  weak = {"eps": 8.0, "step_size": 2.0, "steps": 7}
  make.make(tmp_path / "weak", attack=weak)
  step = {"eps": 32.0, "step_size": 4.0}
  make.make(tmp_path / "step", eval=step, overrides={"eval.step_size": 4.0})
  short = {"eps": 32.0, "step_size": 1.0, "steps": 7}
  make.make(tmp_path / "short", attack=short, overrides={"attack.step_size": 1.0})
  sizes = {"attack.eps": 64.0, "attack.step_size": 16.0, "eval.step_size": 4.0}
  make.make(tmp_path / "mini64", eps=64.0, overrides={**sizes, "eval.eps": 64.0})
  make.make(tmp_path / "digits", data={"name": "mnist"})
  groups, others = group(tmp_path)
  assert labels(groups) == {
    "ImageNet, eps 16": ["paper"],
    "ImageNet, eps 8": ["paper8"],
    "miniature, eps 32": ["mini"],
    "miniature, eps 16": ["mini16"],
    "miniature, eps 32, trained at eps 8": ["weak"],
    "miniature, eps 32, in steps of 4": ["step"],
    "miniature, eps 32, trained in steps of 1": ["short"],
    "miniature, eps 64": ["mini64"],
    "mnist at mini scale, eps 32": ["digits"],
  }
  assert not others
  assert [c.label for c in groups if c.is_paper] == [f"ImageNet, eps{SPACE}16"]
  assert groups[0].is_paper


@pytest.mark.parametrize(
  ("setting", "overrides", "is_row"),
  [
    ("mbn", {}, True),
    ("mbn", {"seed": 3, "data.workers": 2, "eval.readings": [10]}, True),
    ("mbn", {"attack.eps": 16.0, "eval.eps": 16.0}, True),
    ("mbn", {"train.epochs": 1.0}, False),
    ("mbn", {"seed": 3, "loss.alp_weight": 0.0}, False),
    ("bn_finetune_to_clean", {"init.run": "study/adv-mini"}, True),
    ("bn_finetune_to_clean", {"init.run": "study/clean-mini"}, False),
    ("mbn", {"init.run": "runs/adv-mini"}, False),
  ],
)
def test_what_the_command_line_may_change(tmp_path, setting, overrides, is_row):
  make.make(tmp_path / "x", setting, overrides=overrides)
  groups, others = group(tmp_path)
  assert bool(others) != is_row and bool(labels(groups)) == is_row


def test_a_run_that_does_not_say_what_was_changed_is_no_row(tmp_path):
  run = make.make(tmp_path / "x")
  text = (run / "config.json").read_text().replace('"overrides": {}, ', "")
  (run / "config.json").write_text(text)
  _, (other,) = group(tmp_path)
  assert other.overrides is None


def test_seeds_are_averaged_and_the_same_seed_counts_once(tmp_path):
  for seed, correct in enumerate((700, 720, 770)):
    make.make(tmp_path / f"s{seed}", "adv", {"all": {0: 900, 100: correct}}, seed=seed)
  make.make(tmp_path / "t", "adv", {"all": {0: 90, 100: 70}}, seed=0, images=100)
  groups, _ = group(tmp_path)
  _, mini = groups
  (twin,) = conditions.twins(groups)
  assert twin.startswith("t has the setting, the condition and the seed of s0")
  measured = mini.measure("adv", "all", 100)
  assert [run.name for run in measured.runs] == ["s0", "s1", "s2"]
  assert measured.mean == pytest.approx(0.73)
  assert measured.interval == pytest.approx(figures.wilson(730, 1000))
  assert (min(measured.rates), max(measured.rates)) == (0.7, 0.77)


def test_what_is_not_there(tmp_path):
  make.make(tmp_path / "x", "adv", {"all": make.MINI})
  make.metrics(make.make(tmp_path / "y", "gn"), (540, 3.47))
  _, mini = group(tmp_path)[0]
  assert mini.measure("adv", "adv", 10) is None  # plain BN has no such branch
  assert mini.measure("adv", "all", 2000) is None
  assert mini.readings("adv", "all") == [0, 10, 20, 50, 100]
  assert mini.state("adv") == "not read"
  assert mini.state("gn") == "training 43\N{NO-BREAK SPACE}%"
  assert mini.state("clean") == "not run"


def test_eps8_names_a_condition_and_not_a_row(tmp_path):
  make.make(tmp_path / "x", "adv_eps8", {"all": make.MINI}, eps=16.0)
  _, mini = group(tmp_path)[0]
  assert mini.label == f"miniature, eps{SPACE}16" and mini.measure("adv", "all", 100)
