"""What a run's randomness is for, kept apart. The stages themselves: test_main.py."""

import jax
import numpy as np

from robustjax import config
from robustjax.run import stages


def test_each_purpose_has_a_key_of_its_own():
  run = stages.Run(config.base("test", "mini"), None, None, None, None)
  purposes = (stages._INIT, stages._TRAIN, stages._VALIDATION, stages._EVALUATION)
  keys = {tuple(np.asarray(jax.random.key_data(run.key(p)))) for p in purposes}
  assert len(keys) == 4


def test_another_seed_is_another_key():
  first, second = (config.base("test", "mini") for _ in range(2))
  second.seed = 1
  keys = [
    jax.random.key_data(stages.Run(c, None, None, None, None).key(stages._TRAIN))
    for c in (first, second)
  ]
  assert not np.array_equal(*keys)
