"""A few of the faults that `make faults` injects."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.thorough
def test_a_few_of_each_kind_lose_nothing():
  words = [sys.executable, "-m", "tests.faults", "--short"]
  ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=1200)
  assert ran.returncode == 0, ran.stdout + ran.stderr[-3000:]
  assert ran.stdout.count("\n| ") >= 8  # kinds
