"""Batches are tried upward until one does not fit, and the best of them is named."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from cloud import REPO

from benchmarks import gpu

SIZE = gpu.Size((1,), batches=(8, 16, 32, 64))


@pytest.fixture
def fits(monkeypatch):
  """Makes batches fit up to a number by side, a step take a second, and notes them."""
  tried = []

  def make(most):
    def measured(side, name, images, folder):
      tried.append((side, images))
      if images > most[side]:
        return {"fits": False}
      counted = {"operations": 2e12} if side == "PyTorch" else {}
      return {
        "device": "a GPU",
        "seconds": [images / 10 if images < 32 else 10.0, 99.0, 0.001],
        "matrices": {"robustjax": 50.0, "PyTorch": 80.0}[side],
        "costs": [],
        **counted,
      }

    monkeypatch.setattr(gpu, "measured", measured)
    return tried

  return make


def test_batches_grow_until_one_does_not_fit(fits):
  tried = fits({"robustjax": 16, "PyTorch": 64})
  for found in gpu.search({"net": SIZE}):
    last = found
  ours = [images for side, images in tried if side == "robustjax"]
  theirs = [images for side, images in tried if side == "PyTorch"]
  assert ours == [0, 8, 16, 32]  # first of all its weights, for PyTorch
  assert theirs == [8, 16, 32, 64]
  assert len(last) == 7


def test_another_start_goes_on_behind_what_was_found(fits):
  tried = fits({"robustjax": 8, "PyTorch": 16})
  searching = gpu.search({"net": SIZE})
  part = [list(next(searching)) for _ in range(3)][-1]
  tried.clear()
  *_, rest = gpu.search({"net": SIZE}, json.loads(json.dumps(part)))
  assert tried == [("robustjax", 0), ("PyTorch", 16), ("PyTorch", 32)]
  tried.clear()
  assert list(gpu.search({"net": SIZE}, rest)) == []
  assert tried == [("robustjax", 0)]


def test_the_summary_names_the_best_and_its_share(fits):
  fits({"robustjax": 32, "PyTorch": 16})
  *_, found = gpu.search({"net": SIZE})
  summary = gpu.summary(found)
  assert summary["matrices"] == {"robustjax": 50.0, "PyTorch": 80.0}
  assert summary["best"]["net"] == {"robustjax": "8", "PyTorch": "8"}
  row = summary["networks"]["net"]["robustjax"]["8"]
  assert row["images_per_second"][0] == pytest.approx(10)
  assert row["share"] == pytest.approx(10 * 2 / 80)
  assert json.loads(json.dumps(summary)) == summary


def test_the_largest_costs_have_their_part_of_all():
  seconds = {f"kind {i}": float(i) for i in range(8)}
  found = gpu.largest(seconds)
  assert [cost["name"] for cost in found] == [f"kind {i}" for i in (7, 6, 5, 4, 3)]
  assert found[0]["part"] == pytest.approx(7 / 28, abs=1e-4)


def _event(name, nanoseconds):
  return SimpleNamespace(name=name, duration_ns=nanoseconds)


def test_a_profile_is_of_the_streams_of_the_gpu_by_kind(monkeypatch):
  from benchmarks import gpu_ours

  monkeypatch.setattr(gpu_ours.jax, "default_backend", lambda: "gpu")
  events = [_event("loop_add_fusion_12", 2e9), _event("loop_add_fusion.3", 1e9)]
  others = [_event("loop_add_fusion_12", 50e9)]
  line = SimpleNamespace
  profile = SimpleNamespace(
    planes=[
      SimpleNamespace(
        name="/device:GPU:0",
        lines=[
          line(name="Stream #13(Kernel)", events=events),
          line(name="XLA Modules", events=others),
        ],
      ),
      SimpleNamespace(name="/host:CPU", lines=[line(name="tf_XLA", events=others)]),
    ]
  )
  assert gpu_ours.by_kind(profile) == {"loop_add_fusion": pytest.approx(3.0)}


def test_ours_needs_what_a_bare_machine_has():
  code = (
    "import benchmarks.gpu_ours, sys\n"
    "missing = {'ml_collections', 'grain', 'orbax', 'clu', 'tensorflow_datasets'}\n"
    "print(missing & set(sys.modules))"
  )
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True
  )
  assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(("words", "line"), [(["--small"], "no option --small")])
def test_a_wrong_word_is_a_line(words, line):
  command = [str(REPO / "benchmarks" / "gpu.sh"), *words]
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 2 and line in done.stderr
