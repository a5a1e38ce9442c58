"""A path may begin with ~ behind any flag; nobody's home is a line."""

import sys

import pytest

from robustjax.errors import UserError
from robustjax.evaluate import subject
from robustjax.report import __main__ as report
from robustjax.run import commandline
from robustjax.runtime import paths
from robustjax.sweep import __main__ as sweep
from robustjax.weights import __main__ as weights

NOBODY = "~nobody-has-this-name/x"


def test_a_tilde_is_home(monkeypatch, tmp_path):
  monkeypatch.setenv("HOME", str(tmp_path))
  assert paths.typed("~/x") == tmp_path / "x"
  assert paths.typed("a/~") == paths.typed("./a/~")
  with pytest.raises(UserError, match=f"^{NOBODY}: .*; write the whole path$"):
    paths.typed(NOBODY)


def test_every_command_knows_it(monkeypatch, tmp_path, capsys):
  monkeypatch.setenv("HOME", str(tmp_path))
  (tmp_path / "runs").mkdir()
  assert report.main(["~/runs", "--out=~/out"]) == 0
  assert (tmp_path / "out/index.html").is_file()
  line = "experiments/adv.py:mini --workdir=~/mine"
  (tmp_path / "list").write_text(line)
  args, (run,) = sweep.parse(["--list=~/list", "--runs=~/runs"])
  assert (run.workdir, args.runs) == (tmp_path / "mine", tmp_path / "runs")
  words = ["main", "--config=experiments/adv.py:mini", "--workdir=~/mine"]
  monkeypatch.setattr(sys, "argv", words)
  assert commandline.parse().workdir == tmp_path / "mine"
  capsys.readouterr()
  for command in (report.main, weights.main):
    assert command([NOBODY, "--out=x"]) == 2
    assert NOBODY in capsys.readouterr().err
  with pytest.raises(UserError, match=NOBODY):
    subject.open_subject(NOBODY, None, None)
