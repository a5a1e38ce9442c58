"""The table of a configuration, as a person asks for it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def ask(*words):
  return subprocess.run(
    [sys.executable, "-m", "robustjax.config", *words],
    cwd=ROOT, text=True, capture_output=True, timeout=120,
  )  # fmt: skip


def test_every_value_with_its_unit_and_source():
  done = ask("experiments/mbn_alp.py:mini", "--config.seed=7")
  assert done.returncode == 0, done.stderr
  header, _, *rows = done.stdout.splitlines()
  assert header.split() == ["name", "value", "unit", "source"]
  found = {row.split()[0]: row for row in rows}
  assert "32.0" in found["attack.eps"] and "of 255" in found["attack.eps"]
  assert found["attack.eps"].endswith("ours: mini scale")
  assert "guess: Kannan" in found["loss.alp_weight"]
  assert found["seed"].split() == ["seed", "7", "command", "line"]


def test_mistakes_are_one_line():
  for words in (["experiments/none.py"], ["experiments/adv.py:mine"]):
    done = ask(*words)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and line.startswith("error: ")


def test_without_words_it_says_how():
  done = ask()
  assert done.returncode == 2 and "SETTING[:VARIANTS]" in done.stdout
