"""A folder belongs to one configuration and one process."""

import errno
import json

import pytest

from robustjax import config
from robustjax.errors import UserError
from robustjax.run import workdir
from robustjax.runtime import files


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
  del record["sha256"]
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
  assert workdir.finished_evaluation(tmp_path, {"step": 1}, "run") is None
  saved = {"rows": [1], "identity": {"step": 1, "readings": [1, 2]}}
  path = tmp_path / "evaluation.json"
  files.write_json(path, saved)
  own = {"step": 1, "readings": (1, 2)}
  assert workdir.finished_evaluation(tmp_path, own, "run") == saved  # an older one
  with pytest.raises(UserError, match="with readings=.*, not None: move it away"):
    workdir.finished_evaluation(tmp_path, {"step": 1}, "run")
  files.write_json(path, {**saved, "run": "another"})
  with pytest.raises(UserError, match="of a run of another configuration"):
    workdir.finished_evaluation(tmp_path, own, "run")
  files.write_json(path, {**saved, "rows": []})
  with pytest.raises(UserError, match="has no rows"):
    workdir.finished_evaluation(tmp_path, own, "run")


def test_a_finished_run_is_not_taken_for_another_without_its_checkpoints(tmp_path, c):
  workdir.claim(tmp_path, c).close()
  (tmp_path / "evaluation.json").write_text("{}")
  c.optimizer.lr_per_256 = 9.0
  with pytest.raises(UserError, match="lr_per_256=0.8, not 9.0"):
    workdir.check(tmp_path, c)


@pytest.mark.parametrize(
  ("name", "content"),
  [
    ("checkpoints/7.damaged/x", ""),
    ("evaluation.progress.json", "{}"),
    ("metrics.jsonl", '{"step": 3, "split": "validation"}\n' * 3),
  ],
)
def test_a_run_whose_checkpoints_are_gone_does_not_begin_anew(tmp_path, name, content):
  workdir.check_beginning(tmp_path)
  (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
  (tmp_path / name).write_text(content)
  with pytest.raises(UserError, match="no checkpoint that is whole: put its"):
    workdir.check_beginning(tmp_path)
  (tmp_path / "checkpoints/3").mkdir(parents=True)
  workdir.check_beginning(tmp_path)


def test_the_first_checkpoint_may_not_have_been_reached(tmp_path):
  path = tmp_path / "metrics.jsonl"
  path.write_text('{"step": 3, "split": "train"}\n{"step": 3, "split": "validation"}\n')
  workdir.check_beginning(tmp_path)
  path.write_text('{"step": 3, "split": "validation"}\n' * 2)  # the disk was full
  workdir.check_beginning(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, c):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="file cannot be written to .*--workdir"):
    workdir.claim(tmp_path / "file", c)


def test_the_place_of_a_folder_is_no_difference(tmp_path, c):
  c.data.name, c.data.version = "/data/x", ""
  saved(tmp_path, c)
  identity = {"step": 1, "data": "/data/x:"}
  files.write_json(tmp_path / "evaluation.json", {"rows": [1], "identity": identity})
  own = workdir.digest(c)
  for name in ("/data/x/", "/elsewhere", "~/x"):
    c.data.name = name
    workdir.check(tmp_path, c)
    assert workdir.digest(c) == own
  now = {"step": 1, "data": "a folder"}
  assert workdir.finished_evaluation(tmp_path, now, own)
  c.data.name = "imagenet2012"
  assert workdir.digest(c) != own
  with pytest.raises(UserError, match="data.name='/data/x', not 'imagenet2012'"):
    workdir.check(tmp_path, c)


@pytest.mark.parametrize("name", ["config.json", "evaluation.json"])
def test_a_damaged_file_is_named(tmp_path, c, name):
  (tmp_path / name).write_text('{"seed": ')
  (tmp_path / "checkpoints/7").mkdir(parents=True)
  with pytest.raises(UserError, match=f"{name} is damaged: move it away"):
    workdir.check(tmp_path, c)
    workdir.finished_evaluation(tmp_path, {}, "")


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


def test_values_that_came_later_leave_older_digests_as_they_were(c):
  """An older evaluation.json is still of its run; and pieces make another run."""
  before = workdir.digest(c)
  c.train.tracker = "wandb"
  assert workdir.digest(c) == before
  flat = config.flatten(c)
  older = {n: v for n, v in flat.items() if n not in config.SINCE_DIGESTS}
  kept = {n: v for n, v in older.items() if not n.startswith(workdir.FREE)}
  assert files.digest(kept)[:16] == before
  c.loss.name = "trades"
  assert workdir.digest(c) != before
