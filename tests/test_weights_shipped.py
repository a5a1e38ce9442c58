"""The network that comes with the package is there, small, and as its card says."""

import re

import jax
import numpy as np
import pytest

from robustjax import config as configs
from robustjax import weights
from robustjax.run import data as images_of_runs
from robustjax.weights import imported, opened

FILE = opened.located(opened.SHIPPED)
CARD = FILE.with_suffix(".md").read_text()


def test_it_is_small_and_has_two_branches():
  found = imported.read(FILE)
  assert FILE.stat().st_size < 400_000
  assert (found.config.model.norm, found.config.scale) == ("mbn", "mini")
  assert found.config.init.weights.split(":")[1] in CARD


@pytest.mark.parametrize("branch", ["clean", "adv"])
def test_it_gets_as_many_clean_images_right_as_its_card_says(branch):
  config = configs.base("any", "mini")
  test = images_of_runs.open_data(config).test
  rows = images_of_runs.images_of(config, test).read(np.arange(1000))
  logits = jax.jit(weights.logits_fn("shipped", branch))(rows["image"])
  right = int((np.asarray(logits).argmax(-1) == rows["label"]).sum())
  (said,) = re.findall(rf"^\| {branch} \| (\d+) \|", CARD, re.MULTILINE)
  assert abs(right - int(said)) <= 3  # of another processor
