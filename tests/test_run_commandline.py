"""The flags of a run: its folder, its hosts, and mistakes in one line."""

from pathlib import Path

import pytest

from robustjax.errors import UserError
from robustjax.run import commandline

MINI = "--config=experiments/mbn_alp.py:mini"


@pytest.fixture
def parse(argv):
  def parsed(*words):
    argv(*words)
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
  assert found[2:] == (None, None, None, 120, 0)
  words = ["--coordinator=a:1", "--processes=2", "--process=1", "--wait=5"]
  assert parse(MINI, *words)[2:] == ("a:1", 2, 1, 5, 0)


def test_how_many_steps_are_traced(parse):
  assert parse(MINI, "--profile=3").profile == 3


@pytest.mark.parametrize(
  "words, message",
  [
    (["--config=experiments/mbn_apl.py"], "did you mean mbn_alp"),
    ([MINI, "--wrkdir=x"], "wrkdir.*workdir"),
    ([MINI, "runs/x"], "'runs/x' is not a flag"),
    ([MINI, "--processes=two"], "processes"),
    ([MINI, "--wait=0"], "wait"),
    ([MINI, "--profile=-1"], "profile"),
  ],
)
def test_mistakes_are_one_line(parse, words, message):
  with pytest.raises(UserError, match=message) as caught:
    parse(*words)
  assert "\n" not in str(caught.value)
