"""What two sides exchange arrives as it was, and hides nothing."""

import numpy as np
import pytest

from benchmarks import cases
from robustjax import config as configs


def test_variables_arrive_as_they_were(tmp_path):
  rng = np.random.default_rng(0)
  tree = {
    "params": {"conv0": {"kernel": rng.random((3, 3, 1, 2), np.float32)}},
    "batch_stats": {"bn0": {"clean": {"mean": rng.random(2, np.float32)}}},
  }
  cases.save(tmp_path, "variables", tree)
  loaded = cases.load(tmp_path, "variables")
  assert cases.flat(loaded).keys() == cases.flat(tree).keys()
  for name, array in cases.flat(tree).items():
    np.testing.assert_array_equal(cases.flat(loaded)[name], array)


def test_lively_variables_hide_no_layer():
  kernel = np.zeros((1, 1, 2, 2), np.float32)
  norm = {"scale": np.zeros(9), "bias": np.zeros(9)}
  statistics = {"mean": np.zeros(9), "var": np.ones(9)}
  tree = {
    "params": {"bn0": norm, "conv": {"kernel": kernel}},
    "batch_stats": statistics,
  }
  arrays = cases.flat(cases.lively(tree))
  np.testing.assert_array_equal(arrays.pop("params/conv/kernel"), kernel)
  assert not any({0.0, 1.0} & set(array.tolist()) for array in arrays.values())
  assert (arrays["batch_stats/var"] > 0).all()


@pytest.mark.parametrize("name", cases.CASES)
def test_a_case_is_a_configuration_that_exists(name):
  from benchmarks import ours

  configs.check(ours.configured(cases.CASES[name]))
