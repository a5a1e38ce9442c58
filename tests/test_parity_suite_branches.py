"""So it does through each branch of a mixture, in a file of its own: both cores work.

On small networks that were trained here, in PyTorch with the same weights.
"""

import pytest

pytestmark = [
  pytest.mark.parity,
  pytest.mark.slow,
  pytest.mark.usefixtures("optimised"),
  pytest.mark.filterwarnings("ignore"),  # pyautoattack's flags, and its use of PyTorch
]

WHY = "`make parity` installs what the parity tests compare with"
pytest.importorskip("torch", reason=WHY)
pytest.importorskip("pyautoattack", reason=WHY)

import suites  # noqa: E402


@pytest.mark.parametrize(("norm", "branch"), [("mbn", "clean"), ("mbn", "adv")])
def test_the_standard_suite_leaves_what_the_official_one_leaves(norm, branch, tmp_path):
  ours, theirs = suites.left_by_both(norm, branch, tmp_path)
  assert ours["clean"] == theirs["clean"]
  assert abs(ours["robust"] - theirs["robust"]) <= 0.01 * suites.COUNT
