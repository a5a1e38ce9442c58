"""What hosts compare before a run starts, and what helps where images are missing."""

import sys
from pathlib import Path

import pytest

from experiments import mbn_alp
from robustjax.errors import UserError
from robustjax.run import start


def test_where_a_host_has_its_images_is_its_own_affair():
  one, other = (mbn_alp.get_config("mini") for _ in range(2))
  other.data.data_dir, other.data.workers = "/elsewhere", 7
  assert start.facts(one, Path("r")) == start.facts(other, Path("r"))
  other.attack.eps = 8.0
  facts = start.facts(one, Path("r")), start.facts(other, Path("q"))
  different = {name for name in facts[0] if facts[0][name] != facts[1][name]}
  assert different == {"config.attack.eps", "--workdir"}


def test_without_imagenet_the_mini_scale_is_named(monkeypatch, tmp_path):
  argv = ["main", "--config=experiments/mbn_alp.py:star"]
  monkeypatch.setattr(sys, "argv", argv)
  c = mbn_alp.get_config("star")
  c.data.data_dir = str(tmp_path)
  with pytest.raises(UserError, match="--config=experiments/mbn_alp.py:star,mini$"):
    start._open(c)
