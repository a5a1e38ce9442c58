"""A folder belongs to one configuration and one process."""

import errno
import json

import pytest

from robustjax import config
from robustjax.errors import UserError
from robustjax.run import workdir


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


def test_config_json_keeps_overrides_and_sources(tmp_path, c):
  config.change(c, "attack.eps", 8.0, config.COMMAND_LINE)
  workdir.claim(tmp_path, c).close()
  record = json.loads((tmp_path / "config.json").read_text())
  assert record["overrides"] == {"attack.eps": 8.0}
  rows = {row["name"]: row for row in record["table"]}
  assert rows["attack.eps"]["source"] == "command line"
  assert (
    rows["attack.steps"]["unit"] == "steps" and rows.keys() == config.DEFAULTS.keys()
  )


def saved(folder, c):
  """The folder of a run that has saved a step."""
  workdir.claim(folder, c).close()
  (folder / "checkpoints/7").mkdir(parents=True)


def test_a_folder_that_never_saved_a_step_is_free(tmp_path, c):
  workdir.claim(tmp_path, c).close()
  c.attack.eps = 8.0
  workdir.check(tmp_path, c)


def test_the_same_run_again_is_welcome(tmp_path, c):
  saved(tmp_path, c)
  workdir.check(tmp_path, c)


def test_a_run_from_before_a_value_existed_goes_on(tmp_path, c):
  saved(tmp_path, c)
  record = json.loads((tmp_path / "config.json").read_text())
  for name in config.BEFORE:
    section, _, key = name.partition(".")
    del record[section][key]
  (tmp_path / "config.json").write_text(json.dumps(record))
  workdir.check(tmp_path, c)
  c.attack.steps = 3
  with pytest.raises(UserError, match="attack.steps=7, not 3"):
    workdir.check(tmp_path, c)


@pytest.mark.parametrize(
  "name, value",
  [
    ("eval.images", 7),
    ("data.workers", 3),
    ("data.class_digest", ""),
    ("data.broken_images", "skip"),
    ("data.resize", 288),
    ("data.interpolation", "bilinear"),
  ],
)
def test_what_training_does_not_depend_on_may_change(tmp_path, c, name, value):
  saved(tmp_path, c)
  section, key = name.split(".")
  c[section][key] = value
  workdir.check(tmp_path, c)


def test_another_run_is_refused_and_nothing_is_lost(tmp_path, c):
  saved(tmp_path, c)
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


def test_a_file_system_that_does_not_lock_is_named(tmp_path, c, monkeypatch):
  def flock(*_):
    raise OSError(errno.ENOTSUP, "Operation not supported")

  monkeypatch.setattr(workdir.fcntl, "flock", flock)
  says = f"{tmp_path} cannot be locked .Operation not supported.: .* that locks"
  with pytest.raises(UserError, match=says):
    workdir.claim(tmp_path, c)


def test_an_evaluation_counts_as_finished_only_for_its_own_settings(tmp_path):
  assert workdir.finished_evaluation(tmp_path, {"step": 1}) is None
  saved = {"rows": [], "identity": {"step": 1, "readings": [1, 2]}}
  (tmp_path / "evaluation.json").write_text(json.dumps(saved))
  found = workdir.finished_evaluation(tmp_path, {"step": 1, "readings": (1, 2)})
  assert found == saved
  with pytest.raises(UserError, match="with readings=.*, not None: move it away"):
    workdir.finished_evaluation(tmp_path, {"step": 1})


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, c):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="file cannot be written to .*--workdir"):
    workdir.claim(tmp_path / "file", c)


@pytest.mark.parametrize("name", ["config.json", "evaluation.json"])
def test_a_damaged_file_is_named(tmp_path, c, name):
  (tmp_path / name).write_text('{"seed": ')
  (tmp_path / "checkpoints/7").mkdir(parents=True)
  with pytest.raises(UserError, match=f"{name} is damaged: move it away"):
    workdir.check(tmp_path, c)
    workdir.finished_evaluation(tmp_path, {})


def test_other_hosts_see_who_claimed_the_folder(tmp_path, c):
  lock = workdir.claim(tmp_path, c)
  workdir.await_holder(tmp_path, workdir.holder(tmp_path), 0.0)
  lock.close()
  first = workdir.holder(tmp_path)
  workdir.claim(tmp_path, c).close()
  assert workdir.holder(tmp_path) != first


def test_a_folder_that_hosts_do_not_share_is_one_line(tmp_path, c):
  workdir.claim(tmp_path / "mine", c).close()
  wanted = workdir.holder(tmp_path / "mine")
  with pytest.raises(UserError, match="not the folder that process 0 writes to"):
    workdir.await_holder(tmp_path / "other", wanted, 0.6)
