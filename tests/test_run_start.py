"""What hosts compare before a run starts, and what helps where images are missing."""

import json
import sys
from pathlib import Path

import pytest

from experiments import mbn_alp
from robustjax import config
from robustjax.errors import UserError
from robustjax.hosts.processes import Hosts
from robustjax.run import stages, start, workdir
from robustjax.runtime import files


def test_where_a_host_has_its_images_is_its_own_affair():
  one, other = (mbn_alp.get_config("mini") for _ in range(2))
  other.data.data_dir, other.data.workers = "/elsewhere", 7
  assert start.facts(one, Path("r")) == start.facts(other, Path("r"))
  other.attack.eps = 8.0
  facts = start.facts(one, Path("r")), start.facts(other, Path("q"))
  different = {name for name in facts[0] if facts[0][name] != facts[1][name]}
  assert different == {"config.attack.eps", "--workdir"}


def test_without_imagenet_the_mini_scale_is_named(monkeypatch, tmp_path):
  argv = ["main", "--config=experiments/mbn_alp.py:star"]
  monkeypatch.setattr(sys, "argv", argv)
  c = mbn_alp.get_config("star")
  c.data.data_dir = str(tmp_path)
  with pytest.raises(UserError, match="--config=experiments/mbn_alp.py:star,mini$"):
    start._open(c)


@pytest.fixture
def complete(tmp_path):
  """The configuration and the folder of a complete run with a checkpoint."""
  c = mbn_alp.get_config("mini")
  workdir.claim(tmp_path, c).close()
  about = {"shapes": {}, "sha256": {}, "run": config.plain(c)}
  folder = tmp_path / workdir.CHECKPOINTS / "7"
  folder.mkdir(parents=True)
  metadata = json.dumps({"custom_metadata": about})
  (folder / "_CHECKPOINT_METADATA").write_text(metadata)
  identity = stages.evaluation_identity(c)
  saved = {"rows": [1], "identity": identity, workdir.RUN: workdir.digest(c)}
  files.write_json(tmp_path / workdir.EVALUATION, saved)
  assert start.finished(c, tmp_path, Hosts())
  return c, tmp_path


@pytest.mark.parametrize("name", [workdir.CONFIG, workdir.EVALUATION])
@pytest.mark.parametrize("content", ["", "[]", '{"seed": ', "changed by hand"])
def test_what_can_be_made_anew_is_set_aside(complete, capsys, name, content):
  c, folder = complete
  path = folder / name
  text = path.read_text()
  path.write_text(text.replace("0", "1") if content == "changed by hand" else content)
  evaluation = start.finished(c, folder, Hosts())
  assert bool(evaluation) == (name == workdir.CONFIG)
  assert not path.exists() and path.with_name(f"{name}.damaged").exists()
  assert f"it is {name}.damaged now, and made anew" in capsys.readouterr().err


def test_another_run_makes_no_config_anew(complete):
  c, folder = complete
  (folder / workdir.CONFIG).write_text("{")
  (folder / workdir.EVALUATION).unlink()
  other = config.copy(c)
  other.train.batch_size *= 2
  with pytest.raises(UserError, match="holds a run with config.train.batch_size"):
    start.finished(other, folder, Hosts())
  assert (folder / workdir.CONFIG).read_text() == "{"


def test_what_cannot_be_made_anew_is_refused_and_stays(complete):
  c, folder = complete
  path = folder / workdir.CHECKPOINTS / "7"
  (folder / workdir.EVALUATION).write_text("{")
  path.rename(folder / "elsewhere")
  with pytest.raises(files.Damaged, match=workdir.EVALUATION):
    start.finished(c, folder, Hosts())
  (folder / "elsewhere").rename(path)
  (path / "_CHECKPOINT_METADATA").write_text("{")  # what run it is, nothing says now
  (folder / workdir.CONFIG).write_text("{")
  with pytest.raises(files.Damaged, match=workdir.CONFIG):
    start.finished(c, folder, Hosts())
  assert not list(folder.glob("*.damaged"))


def test_hosts_compare_the_code_of_pieces(monkeypatch, tmp_path):
  c = mbn_alp.get_config("mini")
  c.loss.name = c.train.tracker = "piece_of_a_host:loss"
  found = []
  for host in ("one", "other", "neither"):
    (tmp_path / host).mkdir()
    if host != "neither":
      (tmp_path / host / "piece_of_a_host.py").write_text(f"# of {host}")
    with monkeypatch.context() as patch:
      patch.syspath_prepend(tmp_path / host)
      found.append(start.facts(c, Path("r")))
  name = "the digest of config.loss.name=piece_of_a_host:loss"
  assert len({facts[name] for facts in found}) == 3 and found[2][name] == "not there"
  rest = [{k: v for k, v in facts.items() if k != name} for facts in found]
  assert rest[0] == rest[1] == rest[2]
