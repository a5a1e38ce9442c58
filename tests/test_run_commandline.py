"""Each mistake of a person is one line with the remedy."""

import sys
from pathlib import Path

import pytest

from robustjax import config
from robustjax.errors import UserError
from robustjax.run import commandline

MINI = "--config=experiments/mbn_alp.py:mini"


@pytest.fixture
def parse(monkeypatch):
  """Parses words as a new process in the repository's root would."""
  monkeypatch.chdir(Path(__file__).parents[1])

  def parsed(*words):
    monkeypatch.setattr(sys, "argv", ["robustjax", *words])
    return commandline.parse()

  return parsed


def test_the_default_workdir_names_setting_and_scale(parse):
  assert parse(MINI).workdir == Path("runs/mbn_alp-mini")


def test_overrides_and_workdir(parse):
  found = parse(
    MINI, "--config.attack.eps=8", "--config.eval.readings=(3,5)", "--workdir=x/y"
  )
  assert found.config.attack.eps == 8.0 and found.config.eval.readings == (3, 5)
  assert found.workdir == Path("x/y")


def test_flags_of_several_processes(parse):
  found = parse(MINI)
  assert found[2:] == (None, None, None, 120)
  words = ["--coordinator=a:1", "--processes=2", "--process=1", "--wait=5"]
  assert parse(MINI, *words)[2:] == ("a:1", 2, 1, 5)


def test_the_configuration_is_frozen(parse):
  with pytest.raises(AttributeError):
    parse(MINI).config.seed = 3


@pytest.mark.parametrize(
  "words, message",
  [
    ([], "no configuration is given: --config=FILE, one of .*experiments/mbn_alp.py"),
    (["--config=README.md"], "README.md cannot be loaded: SyntaxError"),
    ([MINI, "--config.eval.readings=abc"], "eval.readings"),
    (["--config=experiments/mbn_apl.py"], "no file .*did you mean experiments/mbn_alp"),
    (["--config=experiments/mbn_alp.py:minni"], "no variant 'minni'; there is mini"),
    (
      [MINI, "--config.train.batchsize=3"],
      "train.batchsize does not exist.*batch_size",
    ),
    ([MINI, "--noconfig.los.adv"], "los.adv does not exist.*loss.adv"),
    ([MINI, "--config.trian.epochs=3"], "trian.epochs does not exist.*train.epochs"),
    ([MINI, "--config.train.epochs=many"], "train.epochs=many: could not convert"),
    ([MINI, "--config.model.norm=bm"], "config.model.norm is 'bm'"),
    ([MINI, "--wrkdir=x"], "wrkdir.*workdir"),
    ([MINI, "--config.scale=paper"], "scale cannot be set: the word mini"),
    ([MINI, "--config.sources=()"], "config.sources does not exist"),
    ([MINI, "runs/x"], "'runs/x' is not a flag"),
    ([MINI, "--processes=two"], "processes"),
    ([MINI, "--wait=0"], "wait"),
  ],
)
def test_mistakes_are_one_line(parse, words, message):
  with pytest.raises(UserError, match=message) as caught:
    parse(*words)
  assert "\n" not in str(caught.value)


def test_a_copied_file_must_say_its_own_name(parse, tmp_path):
  """Or its runs would pass for the setting that it was copied from."""
  copy = tmp_path / "mine.py"
  copy.write_text(Path("experiments/alp.py").read_text())
  with pytest.raises(
    UserError, match="calls its setting 'alp': say config.base.'mine'"
  ):
    parse(f"--config={copy}:mini")
  copy.write_text(copy.read_text().replace('"alp"', '"mine"'))
  assert parse(f"--config={copy}:mini,star").config.setting == "mine_star"


def test_overrides_are_known_as_such(parse):
  found = parse(MINI, "--config.loss.alp_weight=0.25", "--noconfig.optimizer.nesterov")
  expected = {"loss.alp_weight": 0.25, "optimizer.nesterov": False}
  assert config.overrides(found.config) == expected
  assert config.sources(found.config)["loss.alp_weight"] == "command line"
