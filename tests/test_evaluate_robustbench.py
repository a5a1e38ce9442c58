"""RobustBench's entry: its fields and formats, and what may not become one."""

import json

import networks
import numpy as np
import pytest

from robustjax.errors import UserError
from robustjax.evaluate import __main__ as command
from robustjax.evaluate import robustbench

# As RobustBench's own template has them, and a footnote.
FIELDS = (
  "link", "name", "authors", "additional_data", "number_forward_passes", "dataset",
  "venue", "architecture", "eps", "clean_acc", "reported", "autoattack_acc", "footnote",
)  # fmt: skip


def summary(**changes):
  identity = {
    "network": "runs/mbn", "branch": "adv", "attack_branch": "adv",
    "data": "imagenet2012:5.1.0", "split": "validation", "norm": "linf", "eps": 4.0,
    "attack": "standard",
  }  # fmt: skip
  counts = {"images": 5000, "clean": 3201, "robust": 1700, "skipped": 0}
  return {
    "identity": {k: changes.get(k, v) for k, v in identity.items()},
    "attacks": [],
    **{k: changes.get(k, v) for k, v in counts.items()},
  }


def written(path, **changes):
  robustbench.write(path, summary(**changes))
  return json.loads(path.read_text())


def test_what_is_known_stands_in_it_and_the_rest_is_for_people(tmp_path):
  path = tmp_path / "model_info" / "imagenet" / "Linf" / "Mine.json"
  entry = written(path)
  assert tuple(entry) == FIELDS
  known = {
    "number_forward_passes": 1,
    "dataset": "imagenet",
    "eps": "4/255",
    "clean_acc": "64.02",
    "autoattack_acc": "34.00",
  }
  assert {k: v for k, v in entry.items() if v is not None} == known


@pytest.mark.parametrize(
  ("field", "value", "changes"),
  [
    ("eps", "0.5/255", {"eps": 0.5}),
    ("eps", "0.5", {"norm": "l2", "eps": 127.5}),
    ("eps", "0.501961", {"norm": "l2", "eps": 128.0}),
    ("dataset", "cifar10", {"data": "cifar10:3.0.2"}),
    ("dataset", "cifar10", {"data": "cifar10"}),
    ("dataset", None, {"data": "/data/imagenet"}),
    ("dataset", None, {"data": "mine.npz:0123456789ab"}),
    ("clean_acc", "100.00", {"clean": 5000}),
    ("autoattack_acc", "0.00", {"robust": 0}),
    ("footnote", "without 2 images that cannot be read", {"skipped": 2}),
  ],
)
def test_formats(tmp_path, field, value, changes):
  assert written(tmp_path / "Mine.json", **changes)[field] == value


def test_what_people_wrote_in_stays(tmp_path):
  path = tmp_path / "Mine.json"
  entry = written(path)
  before = entry | {"authors": "A. U. Thor", "external": None, "dataset": "imagenet"}
  path.write_text(json.dumps(before))
  after = written(path, robust=1234, data="/data/imagenet")
  assert after == before | {"autoattack_acc": "24.68"}


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"attack": "apgd-ce,square"}, "for --attack=standard, and not apgd-ce,square"),
    ({"attack_branch": "clean"}, "branch adv is attacked through clean: leave"),
  ],
)
def test_other_evaluations_are_refused(tmp_path, changes, words):
  path = tmp_path / "Mine.json"
  with pytest.raises(UserError, match=words) as caught:
    robustbench.write(path, summary(**changes))
  assert "\n" not in str(caught.value) and not path.exists()


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"name": "a package"}'])
def test_a_file_of_something_else_is_left_alone(tmp_path, text):
  path = tmp_path / "package.json"
  path.write_text(text)
  with pytest.raises(UserError, match="package.json is there and no entry"):
    robustbench.check(path, "standard", "all", "all")
  assert path.read_text() == text


def test_where_nothing_can_be_written_is_said_before_an_evaluation(tmp_path):
  (tmp_path / "file").write_text("")
  for path in (tmp_path, tmp_path / "file" / "Mine.json"):
    with pytest.raises(UserError, match=f"{path} cannot be written: name another"):
      robustbench.check(path, "standard", "all", "all")


def test_the_command_checks_before_anything_runs(tmp_path, capsys):
  path = tmp_path / "set.npz"
  np.savez(path, images=networks.IMAGES[:1], labels=networks.LABELS[:1])
  words = [
    "networks:function", f"--data={path}", "--eps=4", "--attack=apgd-ce",
    f"--robustbench={tmp_path / 'Mine.json'}", f"--out={tmp_path / 'out'}",
  ]  # fmt: skip
  assert command.main(words) == 2
  assert "for --attack=standard, and not apgd-ce" in capsys.readouterr().err
  assert not (tmp_path / "out").exists()
