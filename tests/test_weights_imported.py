"""A file of weights becomes a run, whole or not at all, and nothing is overwritten."""

import jax
import numpy as np
import pytest
import weights_made as made

from robustjax.errors import UserError
from robustjax.models import blocks
from robustjax.run import saved
from robustjax.runtime import parallel
from robustjax.weights import imported, safetensors
from robustjax.weights.imported import Said

NET = made.BASIC._replace(stages=(1, 2), channels=3)
FLAGS = {
  "data.image_size": (8, "the flag --size"),
  "data.resize": (-1, "the flag --resize"),
}


@pytest.fixture
def path(tmp_path):
  file = tmp_path / "tiny.safetensors"
  safetensors.write(file, made.state_dict(NET), {})
  return file


def read(path, **values):
  flags = {n.replace("__", "."): (v, "a flag") for n, v in values.items()}
  return imported.read(path, Said({}, FLAGS | flags))


def files(folder):
  return {
    p.relative_to(folder): p.read_bytes()
    for p in folder.rglob("*")
    if p.is_file() and p.name != ".lock"
  }


def test_a_file_becomes_a_run_with_its_arrays(path, tmp_path):
  found, run = read(path), tmp_path / "run"
  (run / "evaluations/of-the-file").mkdir(parents=True)
  assert imported.write(found, run)
  config = saved.read_config(run)
  assert config.init.weights.startswith("tiny.safetensors sha256:")
  mesh = parallel.mesh(jax.devices()[:1])
  state = saved.restore(config, run, mesh)
  alone = blocks.unstack(jax.device_get(state.variables))
  made.assert_same(alone, made.variables(NET))
  assert int(state.step) == 0


def test_a_note_is_of_what_nobody_said(path):
  notes = [*imported.read(path).found.notes]
  assert any("crop" in note for note in notes) and any("--mean=0" in n for n in notes)
  notes = [*read(path, model__input_mean=(0.0,)).found.notes]
  assert not any("crop" in note or "normaliser" in note for note in notes)


def test_the_same_import_changes_nothing_and_another_is_refused(path, tmp_path):
  found, run = read(path), tmp_path / "run"
  imported.write(found, run)
  before = files(run)
  assert not imported.write(found, run)
  assert files(run) == before
  with pytest.raises(
    UserError, match=r"holds a run with config.attack.eps=0.0, not 4.0"
  ):
    imported.write(read(path, eval__eps=4.0), run)
  (run / "config.json").unlink()
  with pytest.raises(UserError, match="is not empty: name another folder with --out"):
    imported.write(found, run)


def test_an_import_that_was_killed_goes_on(path, tmp_path):
  found, whole, killed = read(path), tmp_path / "whole", tmp_path / "killed"
  imported.write(found, whole)
  killed.mkdir()
  for left in (".lock", "config.json.part"):
    (killed / left).write_text("")
  assert imported.write(found, killed)
  (killed / "checkpoints/0").rename(killed / "checkpoints/0.orbax-checkpoint-tmp")
  assert imported.write(found, killed)
  name = "config.json"
  assert (killed / name).read_bytes() == (whole / name).read_bytes()
  mesh = parallel.mesh(jax.devices()[:1])
  one, other = (saved.restore(found.config, run, mesh) for run in (whole, killed))
  jax.tree.map(np.testing.assert_array_equal, one, other)


def test_what_a_flag_says_must_fit_the_arrays(path):
  assert read(path, model__activation="gelu").config.model.activation == "gelu"
  what = r"tiny.safetensors has batch_stats/bn0/all/mean float32\[4\], and"
  with pytest.raises(UserError, match=what):
    read(path, model__width=8)
