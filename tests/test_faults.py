"""A few faults of each kind; `make faults` injects them all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.thorough
def test_a_few_of_each_fault_change_nothing():
  own = {k: v for k, v in os.environ.items() if k != "JAX_NUM_CPU_DEVICES"}
  words = [sys.executable, "-m", "tests.faults", "--short", "--seed=0"]
  found = subprocess.run(words, cwd=ROOT, env=own, text=True, capture_output=True)
  print(found.stderr)
  assert found.returncode == 0 and "WRONG" not in found.stderr, found.stdout
  assert "kill -9" in found.stdout
