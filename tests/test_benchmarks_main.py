"""A whole measurement is written; a part of one is printed alone."""

import contextlib
import json
import sys

import pytest

from benchmarks import __main__ as command
from benchmarks import page

FACTS = {
  "benchmarks.ours": {"forms": ["robustjax", "matrices, XLA"], "work": 64},
  "benchmarks.theirs": {
    "forms": ["PyTorch, channels-last", "matrices, PyTorch"],
    "flops": 1e9,
    "apart": 1e-7,
    "note": "",
  },
  "benchmarks.loop": {"forms": ["loop", "waits", "step", "images"]},
}


class Fake:
  """Stands in for a process that serves."""

  def __init__(self, module):
    self.facts = FACTS[module]

  def time(self, form):
    return 0.5 if form == "robustjax" else 1.0


@pytest.fixture
def run(monkeypatch, tmp_path):
  """Runs the command on processes that need no time; returns what they were."""
  started = []

  @contextlib.contextmanager
  def process(*module):
    started.append(module)
    yield Fake(module[0])

  def measure(rounds, after):
    started.append(("start", rounds))
    for _ in range(2 * rounds):
      after()
    return {"cold": [2.0] * rounds, "warm": [1.0] * rounds}

  (tmp_path / "performance.md").write_text(f"{page.BEGIN}\n{page.END}\n")
  monkeypatch.setattr(command, "DOCS", tmp_path)
  monkeypatch.setattr(command.turns, "process", process)
  monkeypatch.setattr(command.start_up, "measure", measure)
  monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: name)
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")  # which it sets itself

  def main(*words):
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
    assert command.main() == 0
    return started

  return main


def test_all_of_it_is_written(run, tmp_path, capsys):
  started = run()
  assert [words[1] for words in started if words[0] == "benchmarks.theirs"] == [
    *command.CASES
  ]
  found = json.loads((tmp_path / "performance.json").read_text())
  assert found["rounds"] == 5 and set(found["cases"]) == set(command.CASES)
  assert len(found["cases"]["demo_train"]["seconds"]["robustjax"]) == 5
  text = (tmp_path / "performance.md").read_text()
  assert page.written(text, found) == text
  assert "2.00 (2.00 to 2.00)" in text
  assert page.tables(found) in capsys.readouterr().out


@pytest.mark.parametrize("words", [["loop"], ["--quick"], ["start", "demo_pgd"]])
def test_a_part_is_printed_alone(run, tmp_path, words):
  started = run(*words)
  assert not (tmp_path / "performance.json").exists()
  eager = [words[-1] == "--eager" for words in started if "theirs" in words[0]]
  assert all(eager) if "--quick" in words else not any(eager)


def test_a_name_that_is_none_is_a_line(run, capsys):
  with pytest.raises(SystemExit) as raised:
    run("resnet")
  assert raised.value.code == 2
  assert "there is resnet50_64" in capsys.readouterr().err
