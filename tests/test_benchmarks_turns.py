"""Processes measure in turn, and say what they say over a pipe of their own."""

import os
import textwrap

import pytest
from cloud import REPO

from benchmarks import turns


@pytest.fixture
def module(tmp_path, monkeypatch):
  """Makes source a module that `turns.process` is able to start."""
  paths = [str(tmp_path), str(REPO), os.environ.get("PYTHONPATH", "")]
  monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))

  def write(source):
    (tmp_path / "served.py").write_text(textwrap.dedent(source))
    return "served"

  return write


SERVED = """
  import os, sys
  from benchmarks import turns

  def prepare():
    print("a library's word")
    os.system("echo and one of a program of its own")
    return {"slow": lambda: 2.5, "other": lambda: float(sys.argv[1])}, {"fact": 3}

  turns.serve(prepare)
"""


def test_what_is_printed_is_no_reply(module):
  with turns.process(module(SERVED), "0.5") as process:
    assert process.facts == {"forms": ["slow", "other"], "fact": 3}
    assert [process.time(form) for form in ("slow", "other", "slow")] == [2.5, 0.5, 2.5]


def test_who_ends_early_is_named_with_its_last_lines(module):
  named = module("raise SystemExit('logits: the two sides are 0.5 apart')")
  with pytest.raises(SystemExit) as raised, turns.process(named):
    pass
  assert "0.5 apart" in str(raised.value) and "served" in str(raised.value)


def test_forms_take_turns_and_each_has_a_time_a_round():
  class Noting:
    def __init__(self, *forms):
      self.facts = {"forms": forms}

    def time(self, form):
      asked.append(form)
      return float(len(asked))

  asked, after = [], []
  processes = [Noting("ours"), Noting("eager", "compiled")]
  seconds = turns.rounds(processes, 2, lambda: after.append(len(asked)))
  assert asked == ["ours", "eager", "compiled"] * 2
  assert seconds == {"ours": [1, 4], "eager": [2, 5], "compiled": [3, 6]}
  assert after == [1, 2, 3, 4, 5, 6]


def test_a_timing_is_of_a_call_unless_it_says_itself():
  calls = []
  assert turns.timed(lambda: calls.append(1), 5) >= 0
  assert len(calls) == 5
  assert turns.timed(lambda: 7.0, 2) == 7.0
