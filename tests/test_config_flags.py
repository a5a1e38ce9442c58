"""Each mistake of a person in a configuration is one line with the remedy."""

from pathlib import Path

import pytest

from robustjax import config
from robustjax.config import flags
from robustjax.errors import UserError

MINI = "--config=experiments/mbn_alp.py:mini"


@pytest.fixture
def parse(argv):
  def parsed(*words):
    argv(*words)
    return flags.parse()

  return parsed


def test_the_configuration_is_frozen(parse):
  with pytest.raises(AttributeError):
    parse(MINI).seed = 3


@pytest.mark.parametrize(
  "words, message",
  [
    ([], "no configuration is given: --config=SETTING, one of .*mbn_alp, or a file"),
    (["--config=README.md"], "README.md cannot be loaded: SyntaxError"),
    ([MINI, "--config.eval.readings=abc"], "eval.readings"),
    (["--config=experiments/published.py:fd_resnet152"], "has no get_config.variant"),
    (["--config=experiments/mbn_apl.py"], "no file .*did you mean mbn_alp"),
    (["--config=experiments/mbn_alp.py:minni"], "no variant 'minni'; there is mini"),
    (
      [MINI, "--config.train.batchsize=3"],
      "train.batchsize does not exist.*batch_size",
    ),
    ([MINI, "--noconfig.los.adv"], "los.adv does not exist.*loss.adv"),
    ([MINI, "--config.trian.epochs=3"], "trian.epochs does not exist.*train.epochs"),
    ([MINI, "--config.train.epochs=many"], "train.epochs=many: could not convert"),
    ([MINI, "--config.model.norm=bm"], "config.model.norm is 'bm'"),
    ([MINI, "--config.scale=paper"], "scale cannot be set: the word mini"),
    ([MINI, "--config.sources=()"], "config.sources does not exist"),
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
  assert parse(f"--config={copy}:mini,star").setting == "mine_star"


def test_overrides_are_known_as_such(parse):
  found = parse(MINI, "--config.loss.alp_weight=0.25", "--noconfig.optimizer.nesterov")
  expected = {"loss.alp_weight": 0.25, "optimizer.nesterov": False}
  assert config.overrides(found) == expected
  assert config.sources(found)["loss.alp_weight"] == "command line"


def test_a_tuple_said_twice_is_the_last_one(parse):
  both = ("--config.eval.readings=(10,)", "--config.eval.readings", "(20,)")
  found = parse(MINI, "--config.seed=1", *both, "--config.seed=2")
  assert found.eval.readings == (20,) and found.seed == 2
