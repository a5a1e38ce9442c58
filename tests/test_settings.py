"""What a person has set of JAX and of matplotlib changes nothing of ours."""

import os
import subprocess
import sys

import jax
import numpy as np

from robustjax import config
from robustjax.report import curves, drawing
from robustjax.run import stages
from robustjax.runtime import settings


def test_a_commands_settings_are_ours_and_the_persons_come_back():
  odd = {
    "jax_default_prng_impl": "rbg",
    "jax_enable_x64": True,
    "jax_default_matmul_precision": "highest",
    "jax_numpy_rank_promotion": "raise",
    "jax_threefry_partitionable": False,
    "jax_random_seed_offset": 7,
  }
  assert odd.keys() <= settings._OURS.keys()
  before = {name: getattr(jax.config, name) for name in settings._OURS}

  @settings.ours()
  def command():
    run = stages.Run(config.base("test", "mini"), None, None, None, None)
    drawn = jax.random.uniform(run.key(0), (3,))
    assert drawn.dtype == np.float32
    return np.asarray(drawn + np.zeros((2, 3)))

  expected = command()
  try:
    for name, value in odd.items():
      jax.config.update(name, value)
    assert np.array_equal(command(), expected)
    assert {name: getattr(jax.config, name) for name in odd} == odd
  finally:
    for name in odd:
      jax.config.update(name, before[name])
  assert {name: getattr(jax.config, name) for name in before} == before


def test_a_key_is_of_one_kind_whoever_asks():
  expected = jax.random.key_data(settings.key(3))
  jax.config.update("jax_default_prng_impl", "rbg")
  try:
    assert np.array_equal(jax.random.key_data(settings.key(3)), expected)
  finally:
    jax.config.update("jax_default_prng_impl", settings.PRNG)


def test_pictures_do_not_follow_a_matplotlibrc():
  def look():
    drawn = drawing.Figure()
    axes = drawn.add_subplot()
    return axes.get_facecolor(), axes.title.get_fontsize(), drawn.dpi

  usual = drawing.plain()(look)()
  with drawing.matplotlib.rc_context(
    {"axes.facecolor": "black", "font.size": 40, "figure.dpi": 7}
  ):
    assert look() != usual
    assert drawing.plain()(look)() == usual
    assert drawing.matplotlib.rcParams["font.size"] == 40
  assert curves.Figure is drawing.Figure


def test_a_notebooks_backend_that_is_not_here_stops_nothing():
  backend = "module://matplotlib_inline.backend_nowhere"
  code = (
    "from robustjax.report import drawing; import os, sys; drawing.Figure().savefig("
    "sys.stdout.buffer, format='svg'); assert os.environ['MPLBACKEND']"
    "; assert 'matplotlib.pyplot' not in sys.modules"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    env={**os.environ, "MPLBACKEND": backend}, capture_output=True, timeout=60,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert b"</svg>" in done.stdout


def test_plain_looks_for_no_styles_in_a_home_that_it_may_not_read(monkeypatch):
  monkeypatch.setitem(sys.modules, "matplotlib.style", None)  # which does
  with drawing.matplotlib.rc_context({"font.size": 40}), drawing.plain():
    assert drawing.matplotlib.rcParams["font.size"] == 10
