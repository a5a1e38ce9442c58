"""A run and a file of weights open alike, and as a function of images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import weights_made as made

from robustjax import config as configs
from robustjax import weights
from robustjax.errors import UserError
from robustjax.models import norm as norms
from robustjax.models import resnet
from robustjax.run import steps
from robustjax.run import workdir as workdirs
from robustjax.runtime import checkpoint
from robustjax.weights import imported, safetensors

NET = made.BASIC._replace(stages=(1,), channels=3)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)


def expected(mean, std, seed=0):
  net = resnet.make(
    NET.stages,
    norm=norms.batch(),
    num_classes=NET.classes,
    block="basic",
    width=NET.width,
    padding="symmetric",
    input_mean=mean,
    input_std=std,
  )
  return jax.jit(net.apply)(made.variables(NET, seed), jnp.asarray(IMAGES))


def test_a_file_and_its_run_are_the_same_function(tmp_path, capsys):
  path, run = tmp_path / "tiny.safetensors", tmp_path / "run"
  safetensors.write(path, made.state_dict(NET), {})
  imported.write(imported.read(path), run)
  mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
  wanted = expected(mean, std)
  for what in (path, str(run)):
    logits = jax.jit(weights.logits_fn(what))(IMAGES)
    np.testing.assert_allclose(logits, wanted, rtol=1e-5)
  assert "no normaliser in the file" in capsys.readouterr().err
  with pytest.raises(UserError, match="has no branch 'adv': name all"):
    weights.logits_fn(run, "adv")


def test_branches_of_mbn_are_functions_of_their_own(tmp_path):
  c = configs.base("mine", "mini")
  for name, value in (
    ("model.stages", (1,)), ("model.width", NET.width), ("model.norm", "mbn"),
    ("model.stem", "imagenet"), ("model.padding", "symmetric"),
    ("loss.clean_ratio", 1.0), ("data.channels", 3), ("data.classes", NET.classes),
    ("data.image_size", 8), ("data.class_digest", ""),
  ):  # fmt: skip
    configs.change(c, name, value, "this test")
  workdirs.claim(tmp_path, c).close()
  both = {k: norms.in_both(v) for k, v in made.variables(NET).items()}
  other = made.variables(NET, 1)
  for kind in both:
    both[kind]["bn0"]["clean"] = other[kind]["bn0"]["all"]
  state = jax.jit(lambda key: steps.initial_state(c, key))(jax.random.key(0))
  checkpoints = checkpoint.Checkpoints(tmp_path / workdirs.CHECKPOINTS, "accuracy_adv")
  checkpoints.save(3, state.replace(**jax.tree.map(jnp.asarray, both)))
  checkpoints.close()
  adv, clean, default = (
    jax.jit(weights.logits_fn(tmp_path, branch))(IMAGES)
    for branch in ("adv", "clean", None)
  )
  np.testing.assert_allclose(adv, expected((127.5,), (127.5,)), rtol=1e-5)
  np.testing.assert_array_equal(adv, default)
  assert np.abs(adv - clean).max() > 1e-3
  with pytest.raises(UserError, match="has no branch 'all': name clean or adv"):
    weights.logits_fn(tmp_path, "all")
