"""Runs are found at any depth; whatever is damaged is one line, never a traceback."""

import json
import os

import pytest
import report_runs as make

from robustjax.errors import UserError
from robustjax.report import runs as finder
from robustjax.report.files import Adaptive, Row


def read(folder):
  return finder.find([folder])


def test_runs_are_found_at_any_depth(tmp_path):
  make.make(tmp_path / "b", "adv", {"all": make.MINI})
  make.make(tmp_path / "deep" / "er" / "a", "mbn", {"adv": make.MINI})
  make.make(tmp_path / "b" / "checkpoints" / "5")  # is no run
  found, problems = read(tmp_path)
  assert [run.name for run in found] == ["b", "deep/er/a"] and not problems
  assert found[0].evaluation.rows[1] == Row("all", 10, 800, 1000)


def test_a_run_itself_and_overlapping_folders(tmp_path):
  run = make.make(tmp_path / "runs" / "x")
  (alone,), _ = read(run)
  assert alone.name == "x"
  found, _ = finder.find([tmp_path / "runs", run])
  assert [run.name for run in found] == ["runs/x"]


def test_folders_of_one_name_are_told_apart(tmp_path):
  for place in ("one", "two"):
    make.make(tmp_path / place / "runs" / "x")
  found, _ = finder.find([tmp_path / "one" / "runs", tmp_path / "two" / "runs"])
  assert len({run.name for run in found}) == 2


def test_a_folder_that_is_not_there(tmp_path):
  with pytest.raises(UserError, match="nowhere is not a folder"):
    read(tmp_path / "nowhere")


def test_an_empty_folder(tmp_path):
  assert read(tmp_path) == ([], [])


def test_how_far_runs_have_come(tmp_path):
  make.make(tmp_path / "begun")
  make.metrics(make.make(tmp_path / "half"), (10, 0.1), (540, 3.47))
  make.metrics(make.make(tmp_path / "over"), (1248, 8.0))
  (make.make(tmp_path / "read") / "evaluation.progress.json").write_text("{}")
  (make.make(tmp_path / "saved") / "checkpoints" / "312").mkdir(parents=True)
  make.make(tmp_path / "whole", counts={"adv": make.MINI})
  found, problems = read(tmp_path)
  assert not problems
  assert {run.name: (run.progress.text, run.progress.step) for run in found} == {
    "begun": ("not begun", 0),
    "half": ("training 43\N{NO-BREAK SPACE}%", 540),
    "over": ("trained, not evaluated", 1248),
    "read": ("evaluating", 0),
    "saved": ("training", 312),
    "whole": ("complete", 1248),
  }


def test_a_last_line_cut_short_is_no_damage(tmp_path):
  run = make.make(tmp_path / "x")
  make.metrics(run, (10, 1.0))
  with (run / "metrics.jsonl").open("a") as file:
    file.write('{"step": 20, "epo')
  (found,), problems = read(tmp_path)
  assert not problems and found.progress.step == 10


def test_the_last_validation(tmp_path):
  run = make.make(tmp_path / "x")
  record = {"step": 9, "epoch": 1, "split": "validation", "accuracy_adv": 0.5}
  (run / "metrics.jsonl").write_text(json.dumps({**record, "target_rate": 0.1}) + "\n")
  ((found,), _) = read(tmp_path)
  assert found.progress.validation == {"adv": 0.5}


DEEP = json.loads("[" * 50 + "]" * 50)


def _rows(**changed):
  return {"step": 1, "rows": [{**make.row("adv", 10, 500), **changed}]}


def _left(times=1, **changed):
  return {**_rows(), "adaptive": times * [{**make.adaptive("adv", 500), **changed}]}


def test_adaptive_attacks_of_an_evaluation_are_read(tmp_path):
  found = {**_rows(), **_left(attack="a,<b>\u2028,c")}
  run = make.make(tmp_path / "x", counts={"adv": make.MINI})
  make.make(tmp_path / "old", counts={"adv": make.MINI})
  (run / "evaluation.json").write_text(json.dumps(found))
  (old, new), problems = read(tmp_path)
  assert not problems and old.evaluation.adaptive == ()
  assert new.evaluation.adaptive == (Adaptive("adv", "a, <b>, c", 1000, 510, 500),)


@pytest.mark.parametrize(
  ("file", "value", "says"),
  [
    ("config.json", "{", "it is not JSON"),
    ("config.json", [], "it has no setting"),
    ("config.json", {"setting": 5}, "its setting is 5"),
    ("config.json", {**make.config(), "attack": {}}, "it has no attack"),
    (
      "config.json",
      {**make.config(), "eval": {"eps": float("nan")}},
      "eval.eps is nan",
    ),
    ("config.json", {**make.config(), "seed": True}, "its seed is True"),
    ("config.json", {**make.config(), "overrides": []}, "its overrides is"),
    ("config.json", "[" * 100_000, "it is not JSON"),
    ("config.json", {"model": 3}, "it has no setting"),
    ("config.json", {**make.config(), "seed": -1}, "its seed is -1"),
    ("config.json", {**make.config(), "seed": 10**13}, "its seed is 10000000"),
    ("config.json", {**make.config(), "train": {"epochs": 10**400}}, "its train.epoch"),
    ("config.json", {**make.config(), "overrides": {"a": DEEP}}, "it is not JSON"),
    ("evaluation.json", "", "it is not JSON"),
    ("evaluation.json", {**_rows(), "what": [float("nan")]}, "it holds 'NaN'"),
    ("evaluation.json", '{"step": 1, "rows": [-1e999]}', "it holds '-1e999'"),
    ("evaluation.json", _rows(images=10**400), "row 1: its images is 1000"),
    ("evaluation.json", _rows(correct=-1), "row 1: its correct is -1"),
    ("metrics.jsonl", '{"step": 1, "epoch": 1e999}\n', "line 1: its epoch is inf"),
    ("evaluation.json", "null", "it has no step"),
    ("evaluation.json", {"step": 1, "rows": 5}, "its rows is 5"),
    ("evaluation.json", {"step": 1, "rows": []}, "it has no rows"),
    ("evaluation.json", {"step": 1, "rows": [7]}, "row 1: it has no branch"),
    ("evaluation.json", _rows(correct=1200), "row 1: 1200 correct of 1000 images"),
    ("evaluation.json", _rows(correct="many"), "row 1: its correct is 'many'"),
    ("evaluation.json", _rows(images=0), "row 1: its images are 0"),
    ("evaluation.json", _rows(accuracy=0.9), "accuracy 0.9 is not 500 / 1000"),
    ("evaluation.json", _rows(eps=16.0), "eps 16, where config.json says 32"),
    ("evaluation.json", {"step": 1, "rows": 2 * _rows()["rows"]}, "there twice"),
    ("evaluation.json", {**_rows(), "guesses": {"a": 1}}, "guesses are not a list"),
    ("evaluation.json", {**_rows(), "adaptive": 3}, "its adaptive is 3"),
    ("evaluation.json", {**_rows(), "adaptive": [3]}, "adaptive row 1: it has no bra"),
    ("evaluation.json", _left(robust=511), "row 1: 511 robust and 510 clean of 1000"),
    ("evaluation.json", _left(clean=1001), "500 robust and 1001 clean of 1000"),
    ("evaluation.json", _left(robust=-1), "adaptive row 1: its robust is -1"),
    ("evaluation.json", _left(images=0), "adaptive row 1: its images are 0"),
    ("evaluation.json", _left(attack=None), "adaptive row 1: its attack is None"),
    ("evaluation.json", _left(eps=16.0), "row 1: eps 16, where config.json says 32"),
    ("evaluation.json", _left(2), "an adaptive row is there twice"),
    ("metrics.jsonl", "what\n{}\n", "line 1 is not JSON"),
    ("metrics.jsonl", '{"step": "x"}\n', "line 1: its step is 'x'"),
    ("metrics.jsonl", b"\xff\xfe\n", "it is not text"),
  ],
)
def test_damage_is_one_line(tmp_path, file, value, says):
  path = make.make(tmp_path / "x", counts={"adv": make.MINI}) / file
  make.make(tmp_path / "y", counts={"adv": make.MINI})
  if isinstance(value, bytes):
    path.write_bytes(value)
  else:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
  found, (problem,) = read(tmp_path)
  other = " or of another version" if file == "config.json" else ""
  assert problem.startswith(f"x/{file} is damaged{other}: ") and says in problem
  assert len(problem) < 200 and "\n" not in problem
  assert "y" in [run.name for run in found], "the other run is there all the same"
  if file == "evaluation.json":
    assert found[0].evaluation is None
    assert found[0].progress.text == "evaluation damaged"


def test_numbers_of_which_no_progress_can_be_said(tmp_path):
  run = make.make(tmp_path / "x", train={"epochs": 5e-324})
  (run / "checkpoints" / ("9" * 200)).mkdir(parents=True)
  values = {"accuracy_a": 10**400, "accuracy_b": float("nan"), "accuracy_c": True}
  record = {"step": 10**12, "epoch": 0, "split": "validation", **values}
  (run / "metrics.jsonl").write_text(json.dumps({**record, "accuracy_d": 1}) + "\n")
  ((found,), problems) = read(tmp_path)
  assert not problems and found.progress.validation == {"d": 1.0}
  assert found.progress.step == 10**12
  assert found.progress.text == "training 0\N{NO-BREAK SPACE}%"


def test_a_name_that_no_folder_can_have(tmp_path):
  with pytest.raises(UserError, match="is not a folder"):
    read(tmp_path / ("x" * 300))


def test_a_folder_where_a_file_should_be(tmp_path):
  run = make.make(tmp_path / "x")
  (run / "evaluation.json").mkdir()
  _, (problem,) = read(tmp_path)
  assert "x/evaluation.json is damaged: it is not a file" in problem


def test_names_that_no_file_can_hold(tmp_path):
  os.mkdir(os.fsencode(tmp_path) + b"/bad\xff\n")
  (inner,) = tmp_path.iterdir()
  (inner / "config.json").write_text(json.dumps(make.config("\ud800 x")))
  (run,), _ = read(tmp_path)
  for text in (run.name, run.setting):
    assert text.isprintable() and text.encode("utf-8")
