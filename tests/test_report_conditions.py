"""Only what may be compared stands together; a number says which runs it is of."""

import json

import pytest
import report_runs as make

from robustjax import config as configs
from robustjax.report import conditions, intervals
from robustjax.report import runs as finder
from robustjax.report.document import SPACE

TRAINED = (1248, 8.0)  # the step and the epoch where a run at mini scale ends


def group(*folders):
  found, problems = finder.find(folders)
  assert not problems
  return conditions.group(found)


def labels(groups):
  return {
    c.label.replace(SPACE, " "): [run.name for run in c.runs] for c in groups if c.runs
  }


def why(*folders):
  """Name -> why the run is no row."""
  return {other.run.name: other.why for other in group(*folders)[1]}


def scaled(factor, setting="adv", scale="mini"):
  own = make.config(setting, scale=scale)
  return {
    f"{part}.{name}": factor * own[part][name]
    for part in ("attack", "eval")
    for name in ("eps", "step_size")
  }


def write(folder, config):
  folder.mkdir(parents=True)
  (folder / "config.json").write_text(json.dumps(config))


def changed(value):
  """Another value of the same kind."""
  if isinstance(value, bool):
    return not value
  if isinstance(value, str):
    return f"{value}x"
  return [*value, 3] if isinstance(value, list) else value + 1


def finished(folder, setting, **values):
  run = make.make(folder, setting, **values)
  make.metrics(run, TRAINED)
  return run


# What a run is.


@pytest.mark.parametrize("scale", ["paper", "mini"])
def test_every_setting_is_a_row_as_its_experiment_is(tmp_path, scale):
  for setting in make.SETTINGS:
    make.make(tmp_path / f"{setting}-{scale}", setting, scale=scale)
  for start in ("adv", "clean"):
    make.metrics(tmp_path / f"{start}-{scale}", (9, 200.0))
  groups, others = group(tmp_path)
  assert not others
  # eps 8 is 16 at mini scale
  own, eight = [c for c in groups if c.runs]
  if scale == "mini":
    own, eight = eight, own
  assert [run.setting for run in eight.runs] == ["adv_clean_eps8"]
  assert len(own.runs) == len(make.SETTINGS) - 1
  assert own.is_paper == (scale == "paper") and not eight.is_paper


def test_eps_8_as_it_is_run_at_the_papers_scale(tmp_path):
  make.make(tmp_path / "a", "adv_clean_eps8", scale="paper")
  assert labels(group(tmp_path)[0]) == {"ImageNet, eps 8": ["a"]}


@pytest.mark.parametrize("setting", ["adv", "alp_study_1", "clean"])
def test_each_value_that_matters_makes_another_run(tmp_path, setting):
  own = make.config(setting)
  free = set()
  for row in own["table"]:
    name, value = row["name"], json.loads(json.dumps(row["value"]))
    if name in ("setting", "scale"):
      continue
    config = json.loads(json.dumps(own))
    section, _, key = name.rpartition(".")
    (config[section] if section else config)[key] = changed(value)
    write(tmp_path / name, config)
    said = why(tmp_path / name)
    if not said:
      free.add(name)
    else:
      (text,) = said.values()
      assert text == f"{name}={changed(value)!r} instead of {value!r}"
  assert free == {
    "seed", "data.class_digest", "data.data_dir", "data.workers", "model.remat",
    "model.scan", "train.log_every_steps", "train.save_every_epochs",
    "train.tracker", "train.validation_images", "eval.readings", "eval.images",
    "eval.batch_size",
    "eval.attack", "eval.attack_images",
  }  # fmt: skip


def test_it_does_not_matter_who_set_a_value(tmp_path):
  own = {"train.epochs": 8.0, "attack.eps": 32.0}
  make.make(tmp_path / "same", "adv", overrides=own)
  # An experiment's file that was changed, or a copy of it.
  make.make(tmp_path / "edited", "adv", train={"epochs": 3.0})
  silent = make.config("adv")
  del silent["overrides"]
  write(tmp_path / "silent", silent)
  groups, others = group(tmp_path)
  assert labels(groups) == {"miniature, eps 32": ["same", "silent"]}
  (edited,) = others
  assert "train.epochs=3.0 instead of 8.0" in edited.why


def test_a_copy_under_the_name_of_another_setting_is_named_for_what_it_is(tmp_path):
  copy = {**make.config("adv"), "setting": "alp"}
  copy["attack"]["steps"], copy["train"]["epochs"] = 6, 3.0
  write(tmp_path / "x", copy)
  (said,) = why(tmp_path).values()
  assert said == (
    "attack.steps=6 instead of 7, loss.alp_weight=0.0 instead of 0.5,"
    " loss.clean_ratio=0.0 instead of 1.0, train.epochs=3.0 instead of 8.0"
  )


def test_whole_numbers_and_fractions_are_alike_and_truth_is_no_number(tmp_path):
  config = make.config("adv")
  config["train"]["epochs"] = 8
  config["optimizer"]["decay_epochs"] = [5, 7]
  write(tmp_path / "whole", config)
  config["loss"]["adv"] = 1
  write(tmp_path / "true", config)
  assert why(tmp_path) == {"true": "loss.adv=1 instead of True"}


def test_what_one_version_records_and_another_does_not(tmp_path):
  config = make.config("adv")
  del config["loss"]["label_smoothing"]
  config["loss"]["focal"] = {"gamma": 2}
  write(tmp_path / "a", config)
  write(tmp_path / "b", {k: v for k, v in config.items() if k != "optimizer"})
  said = why(tmp_path)
  assert said["a"] == (
    "loss.focal.gamma=2 instead of None, loss.label_smoothing=None instead of 0.1"
  )
  assert said["b"].count(" instead of ") == 5 and said["b"].endswith(" and 9 more")


def test_an_older_run_stands_in_its_row(tmp_path):
  written = make.config("adv")
  for name in configs.BEFORE:
    section, _, key = name.partition(".")
    del written[section][key]
  write(tmp_path / "old", written)
  skips = make.config("adv", overrides={"data.broken_images": "skip"})
  write(tmp_path / "skips", skips)
  groups, others = group(tmp_path)
  assert labels(groups) == {"miniature, eps 32": ["old"]}
  assert why(tmp_path) == {"skips": "data.broken_images='skip' instead of 'stop'"}


def test_a_name_that_no_row_has(tmp_path):
  make.make(tmp_path / "a", "adv_8")
  make.make(tmp_path / "b", "adv", scale="mini")
  write(tmp_path / "c", {**make.config("adv"), "scale": "huge"})
  assert why(tmp_path) == dict.fromkeys("ac", "of no row of the paper")


# Conditions.


@pytest.mark.parametrize("scale", ["paper", "mini"])
@pytest.mark.parametrize("factor", [0.3, 0.5, 2.0])
def test_eps_and_steps_in_one_proportion_make_a_condition(tmp_path, factor, scale):
  for setting in ("adv", "mbn_pgd10", "clean"):
    own = scaled(factor, setting, scale)
    make.make(tmp_path / setting, setting, scale=scale, overrides=own)
  groups, others = group(tmp_path)
  (condition,) = [c for c in groups if c.runs]
  assert not others and not condition.is_paper and len(condition.runs) == 3
  own = make.config("adv", scale=scale)["eval"]
  assert condition.eps == pytest.approx(factor * own["eps"])
  assert condition.step_size == pytest.approx(factor * own["step_size"])


@pytest.mark.parametrize("name", make.ATTACKS)
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_one_of_them_out_of_proportion_makes_another_run(tmp_path, name, factor):
  own = scaled(factor)
  make.make(tmp_path / "x", "adv", overrides={**own, name: 0.7 * own[name]})
  (said,) = why(tmp_path).values()
  assert f"{name}={0.7 * own[name]!r} instead of" in said


def test_a_step_of_another_size_at_the_papers_scale(tmp_path):
  make.make(tmp_path / "x", "adv", scale="paper", overrides={"attack.step_size": 0.7})
  assert list(why(tmp_path).values()) == ["attack.step_size=0.7 instead of 1.0"]


def test_a_proportion_as_a_person_types_it(tmp_path):
  third = {name: round(value, 9) for name, value in scaled(1 / 3, "mbn_pgd10").items()}
  make.make(tmp_path / "x", "mbn_pgd10", overrides=third)
  assert not why(tmp_path)


def test_attacks_of_no_size_are_in_no_proportion(tmp_path):
  make.make(tmp_path / "x", "adv", overrides=scaled(0.0))
  assert why(tmp_path)


def test_conditions_keep_apart_what_differs_and_the_papers_is_first(tmp_path):
  make.make(tmp_path / "mini", "mbn")
  make.make(tmp_path / "mini128", "mbn", eps=128.0)
  make.make(tmp_path / "mini64", "mbn", eps=64.0)
  make.make(tmp_path / "paper", "mbn", scale="paper")
  make.make(tmp_path / "paper64", "mbn", scale="paper", eps=64.0)
  groups, others = group(tmp_path)
  assert not others
  found = {
    "ImageNet, eps 16": ["paper"],
    "ImageNet, eps 64": ["paper64"],
    "miniature, eps 32": ["mini"],
    "miniature, eps 64": ["mini64"],
    "miniature, eps 128": ["mini128"],
  }
  assert labels(groups) == found and list(labels(groups)) == list(found)
  assert [c.is_paper for c in groups] == [True, False, False, False, False]


def test_the_papers_condition_is_always_there(tmp_path):
  assert group(tmp_path) == ([conditions.PAPER], [])


def test_two_that_differ_in_their_steps_alone_say_so(tmp_path):
  make.make(tmp_path / "a", "adv_clean_eps8", scale="paper")
  make.make(tmp_path / "b", "adv", scale="paper", eps=8.0)
  make.make(tmp_path / "c", "adv", scale="mini", eps=8.0)
  groups, _ = group(tmp_path)
  assert labels(groups) == {
    "ImageNet, eps 8, in steps of 0.5": ["b"],
    "ImageNet, eps 8, in steps of 1": ["a"],
    "miniature, eps 8": ["c"],
  }
  # Nor does another's eps make it the paper's condition.
  twice = scaled(2.0, "adv_clean_eps8", "paper")
  make.make(tmp_path / "d", "adv_clean_eps8", scale="paper", overrides=twice)
  groups, _ = group(tmp_path)
  assert [c.is_paper for c in groups] == [True, False, False, False, False]
  assert not groups[0].runs
  assert labels(groups)["ImageNet, eps 16, in steps of 2"] == ["d"]
  assert groups[0].label == f"ImageNet, eps{SPACE}16, in steps of 1"


def test_eps8_names_a_condition_and_not_a_row(tmp_path):
  make.make(tmp_path / "x", "adv_clean_eps8", {"all": make.MINI})
  _, mini = group(tmp_path)[0]
  assert mini.label == f"miniature, eps{SPACE}16"
  assert mini.measure("adv_clean", "all", 100)


# BN fine-tuning.


@pytest.mark.parametrize(
  ("setting", "start"),
  [("bn_finetune_to_clean", "adv"), ("bn_finetune_to_adv", "clean")],
)
def test_fine_tuning_is_a_row_beside_its_start_alone(tmp_path, setting, start):
  finished(tmp_path / f"{start}-mini", start)
  make.make(tmp_path / "tuned", setting)
  groups, others = group(tmp_path)
  assert not others and labels(groups) == {
    "miniature, eps 32": [f"{start}-mini", "tuned"]
  }
  assert why(tmp_path / "tuned") == {
    "tuned": f"starts from 'runs/{start}-mini', which is no finished run of {start} in"
    " this condition among these"
  }


@pytest.mark.parametrize("name", ["study/first", "runs/study/first", "x/first", "{}"])
def test_the_start_is_found_where_it_is_or_was_moved(tmp_path, name):
  study = tmp_path / "runs" / "study"
  finished(study / "first", "adv", eps=64.0)
  own = {"init.run": name.format(study / "first")}
  make.make(study / "tuned", "bn_finetune_to_clean", eps=64.0, overrides=own)
  assert not why(tmp_path)


def test_a_start_in_another_folder_is_found_by_its_whole_name(tmp_path):
  finished(tmp_path / "runs" / "adv-mini", "adv")
  for name, start in (
    ("a", "runs/adv-mini"),
    ("b", "../adv-mini"),
    ("c", "x/adv-mini"),
  ):
    own = {"init.run": start}
    make.make(tmp_path / "runs" / "deep" / name, "bn_finetune_to_clean", overrides=own)
  assert [name[-1] for name in why(tmp_path)] == ["c"]


def test_a_whole_name_goes_before_a_neighbour(tmp_path):
  finished(tmp_path / "runs" / "adv-mini", "adv", overrides={"train.epochs": 1.0})
  finished(tmp_path / "runs" / "deep" / "adv-mini", "adv")
  make.make(tmp_path / "runs" / "deep" / "tuned", "bn_finetune_to_clean")
  assert "runs/deep/tuned" in why(tmp_path)


@pytest.mark.parametrize(
  "start",
  [
    {"setting": "clean"},
    {"setting": "adv_star"},
    {"setting": "adv", "eps": 64.0},
    {"setting": "adv", "overrides": {"train.epochs": 0.1}},
    {"setting": "adv", "scale": "paper"},
  ],
)
def test_another_start_makes_another_run(tmp_path, start):
  # The folder's name is that of the right one, or begins like it.
  finished(tmp_path / "adv-mini", **start)
  finished(tmp_path / "adv-mini-2", **start)
  make.make(tmp_path / "tuned", "bn_finetune_to_clean")
  own = {"init.run": "runs/adv-mini-2"}
  make.make(tmp_path / "tuned2", "bn_finetune_to_clean", overrides=own)
  assert {"tuned", "tuned2"} <= why(tmp_path).keys()


@pytest.mark.parametrize("last", [None, (540, 3.47)])
def test_a_start_that_is_not_finished(tmp_path, last):
  run = make.make(tmp_path / "adv-mini", "adv")
  if last:
    make.metrics(run, last)
  make.make(tmp_path / "tuned", "bn_finetune_to_clean")
  assert list(why(tmp_path)) == ["tuned"]


def test_no_other_setting_may_start_from_a_run(tmp_path):
  finished(tmp_path / "adv-mini", "adv")
  make.make(tmp_path / "x", "adv", overrides={"init.run": "runs/adv-mini"})
  assert why(tmp_path) == {"x": "init.run='runs/adv-mini' instead of ''"}


@pytest.mark.parametrize("start", [None, "", 5, ["a"], "\0", "tuned", "/"])
def test_an_odd_start(tmp_path, start):
  write(tmp_path / "tuned", make.config("bn_finetune_to_clean", init={"run": start}))
  assert list(why(tmp_path)) == ["tuned"]


# What is looked up.


def test_seeds_are_averaged_and_the_same_seed_counts_once(tmp_path):
  for seed, correct in enumerate((700, 720, 770)):
    counts = {"all": {0: 900, 100: correct}}
    make.make(tmp_path / f"s{seed}", "adv", counts, overrides={"seed": seed})
  make.make(tmp_path / "t", "adv", {"all": {0: 90, 100: 70}}, images=100)
  groups, _ = group(tmp_path)
  _, mini = groups
  (twin,) = conditions.twins(groups)
  assert twin.startswith("t has the setting, the condition and the seed of s0")
  measured = mini.measure("adv", "all", 100)
  assert [run.name for run in measured.runs] == ["s0", "s1", "s2"]
  assert measured.mean == pytest.approx(0.73)
  assert measured.count.interval == pytest.approx(intervals.wilson(730, 1000))
  assert (min(measured.rates), max(measured.rates)) == (0.7, 0.77)


def test_of_twins_the_one_with_more_images_counts_or_else_the_first(tmp_path):
  make.make(tmp_path / "a", "adv", {"all": {0: 90, 10: 60}}, images=100)
  make.make(tmp_path / "b", "adv", {"all": {0: 800, 10: 500}})
  make.make(tmp_path / "c", "adv", {"all": {0: 700, 10: 400}})
  _, mini = group(tmp_path)[0]
  assert [run.name for run in mini.measure("adv", "all", 10).runs] == ["b"]


def test_the_strongest_attack_is_that_of_most_runs(tmp_path):
  counts = {0: 900, 10: 500}
  make.make(tmp_path / "a", "adv", {"all": counts})
  make.make(tmp_path / "b", "gn", {"all": counts})
  make.make(tmp_path / "c", "alp", {"all": {**counts, 500: 400}})
  _, mini = group(tmp_path)[0]
  assert mini.strongest == 10
  make.make(tmp_path / "d", "adv_star", {"all": {**counts, 500: 400}})
  _, mini = group(tmp_path)[0]
  assert mini.strongest == 500  # as many: the stronger
  assert conditions.PAPER.strongest == 0


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
