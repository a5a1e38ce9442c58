"""A folder belongs to one configuration and one process."""

import json

import pytest

from robustjax import config, workdir
from robustjax.errors import UserError


@pytest.fixture
def c():
  """A mini configuration."""
  return config.base("test", "mini")


def test_config_json_is_the_resolved_configuration(tmp_path, c):
  workdir.claim(tmp_path / "run", c).close()
  saved = json.loads((tmp_path / "run/config.json").read_text())
  assert saved["attack"]["eps"] == 32.0 and saved["eval"]["readings"] == [
    10,
    20,
    50,
    100,
  ]


def test_the_same_run_again_is_welcome(tmp_path, c):
  workdir.claim(tmp_path, c).close()
  workdir.check(tmp_path, c)


@pytest.mark.parametrize("name, value", [("eval.images", 7), ("data.workers", 3)])
def test_what_training_does_not_depend_on_may_change(tmp_path, c, name, value):
  workdir.claim(tmp_path, c).close()
  section, key = name.split(".")
  c[section][key] = value
  workdir.check(tmp_path, c)


def test_another_run_is_refused_and_nothing_is_lost(tmp_path, c):
  workdir.claim(tmp_path, c).close()
  before = (tmp_path / "config.json").read_bytes()
  c.attack.eps = 8.0
  with pytest.raises(UserError, match="attack.eps=32.0, not 8.0: .*--workdir"):
    workdir.check(tmp_path, c)
  assert (tmp_path / "config.json").read_bytes() == before


def test_two_processes_cannot_work_in_one_folder(tmp_path, c):
  lock = workdir.claim(tmp_path, c)
  with pytest.raises(UserError, match="another process is at work"):
    workdir.claim(tmp_path, c)
  lock.close()
  workdir.claim(tmp_path, c).close()


def test_an_evaluation_counts_as_finished_only_for_its_own_settings(tmp_path):
  assert workdir.finished_evaluation(tmp_path, {"step": 1}) is None
  saved = {"rows": [], "identity": {"step": 1, "readings": [1, 2]}}
  (tmp_path / "evaluation.json").write_text(json.dumps(saved))
  found = workdir.finished_evaluation(tmp_path, {"step": 1, "readings": (1, 2)})
  assert found == saved
  assert workdir.finished_evaluation(tmp_path, {"step": 2}) is None
