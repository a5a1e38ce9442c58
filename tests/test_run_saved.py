"""A checkpoint of a scanned network goes on unrolled, and the other way round."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import lively

from robustjax import config
from robustjax.errors import UserError
from robustjax.inspect import __main__ as inspect
from robustjax.inspect import norms as statistics
from robustjax.models import blocks
from robustjax.run import network, pretrained, saved, stages, steps, workdir
from robustjax.runtime import checkpoint, parallel
from robustjax.runtime.preemption import Stop

FORMS = [True, False]


def tiny(scan, **changes):
  c = config.base("test", "mini")
  for name, value in {
    "model.norm": "mbn",
    "loss.clean_ratio": 1.0,
    "model.width": 4,
    "model.stages": (3,),
    "model.group": 4,
    "model.scan": scan,
    "attack.steps": 1,
    "train.epochs": 0.02,  # 3 steps
    **{name.replace("__", "."): value for name, value in changes.items()},
  }.items():
    config.change(c, name, value, "this test")
  return c


def mesh():
  return parallel.mesh(jax.devices()[:2])


def state_of(c, seed=0):
  made = jax.jit(lambda key: steps.initial_state(c, key))(jax.random.key(seed))
  return made.replace(
    params=lively(made.params, 1), batch_stats=lively(made.batch_stats, 2)
  )


def save(folder, c, step=3):
  """A run of a configuration with one checkpoint; the state in it."""
  workdir.claim(folder, c).close()
  state = state_of(c).replace(step=jnp.int32(step))
  made = checkpoint.Checkpoints(
    folder / workdir.CHECKPOINTS, "accuracy_adv", config.plain(c)
  )
  with contextlib.closing(made) as checkpoints:
    checkpoints.save(step, parallel.replicate(state, mesh()))
  return state


def damage(folder, step):
  path = folder / workdir.CHECKPOINTS / str(step) / "_CHECKPOINT_METADATA"
  path.write_bytes(path.read_bytes()[:-9])


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, capsys):
  c, states = tiny(False), {}
  for step in (2, 3, 4):
    states[step] = save(tmp_path, c, step)
  damage(tmp_path, 4)
  found = saved.restore(c, tmp_path, mesh())
  np.testing.assert_array_equal(*map(alone_first, (found, states[3])))
  assert "checkpoints/4 is damaged" in capsys.readouterr().err
  with pytest.raises(UserError, match="checkpoints/4 is damaged"):
    saved.restore(c, tmp_path, mesh(), at=4)
  damage(tmp_path, 2)
  run = stages.Run(c, tmp_path, None, mesh(), Stop())
  stages._begin(run)
  told = capsys.readouterr().err
  assert "it is 2.damaged now" in told and "it is 4.damaged now" in told
  assert checkpoint.steps(tmp_path / workdir.CHECKPOINTS) == [3]
  save(tmp_path, c, 4)  # nothing is in the way
  for step in (3, 4):
    damage(tmp_path, step)
  with pytest.raises(UserError, match="no checkpoint is left.*/4 is .*/3 is .*a copy"):
    stages._begin(run)
  assert checkpoint.steps(tmp_path / workdir.CHECKPOINTS) == [3, 4]


def test_a_checkpoint_knows_its_run_without_config_json(tmp_path):
  save(tmp_path, tiny(False))
  (tmp_path / workdir.CONFIG).unlink()
  saved.restore(tiny(False, eval__images=7), tmp_path, mesh())
  with pytest.raises(UserError, match="of a run with config.seed=0, not 1"):
    saved.restore(tiny(False, seed=1), tmp_path, mesh())


def alone_first(state):
  return jax.tree.leaves(state.params)[0]


def alone(tree):
  return jax.tree.leaves(blocks.unstack(tree))


@pytest.mark.parametrize("scan", FORMS)
def test_a_checkpoint_of_either_form_loads_in_the_other(tmp_path, scan):
  state = save(tmp_path, tiny(scan))
  for form in FORMS:
    found = saved.restore(tiny(form), tmp_path, mesh())
    shapes = steps.abstract_state(tiny(form))
    assert jax.tree.structure(found) == jax.tree.structure(shapes)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, shapes)
    assert len(found.step.sharding.device_set) == 2
    for name in ("params", "batch_stats"):
      one, other = alone(getattr(found, name)), alone(getattr(state, name))
      for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.thorough
def test_what_was_saved_in_one_form_goes_on_in_the_other_as_in_its_own(tmp_path):
  save(tmp_path, tiny(True))
  images = jax.random.randint(jax.random.key(1), (8, 28, 28, 1), 0, 256)
  number = jnp.arange(8, dtype=jnp.int32)
  batch = {"image": images.astype(jnp.uint8), "label": number, "index": number}
  ends = []
  for form in FORMS:
    c = tiny(form)
    state = saved.restore(c, tmp_path, mesh())
    step = steps.train_steps(c, mesh())["batch"]
    state, _ = step(state, parallel.shard(batch, mesh()), jax.random.key(2))
    ends.append([alone(x) for x in (state.params, state.batch_stats)])
    ends[-1].append(jax.tree.leaves(network.branches(c, state.variables)["adv"]))
  for one, other in zip(ends[0][:2], ends[1][:2], strict=True):
    for a, b in zip(one, other, strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_run_may_change_its_form_and_another_network_is_refused(tmp_path):
  save(tmp_path, tiny(True))
  workdir.check(tmp_path, tiny(False, model__remat="block"))
  with pytest.raises(UserError, match="of a run with config.model.stages"):
    saved.restore(tiny(True, model__stages=(4,)), tmp_path, mesh())
  with pytest.raises(UserError, match="of a run with config.model.stages"):
    saved.restore(tiny(False, model__stages=(2,)), tmp_path, mesh())


@pytest.mark.parametrize("scan", FORMS)
def test_a_run_starts_from_one_of_the_other_form(tmp_path, scan):
  state = save(tmp_path, tiny(scan))
  c = tiny(not scan, init__run=str(tmp_path), train__parameters="norm")
  pretrained.check(c)
  started = pretrained.weights(c, parallel.replicate(state_of(c, 1), mesh()), mesh())
  shapes = steps.abstract_state(c)
  assert jax.tree.map(jnp.shape, started) == jax.tree.map(jnp.shape, shapes)
  for a, b in zip(alone(started.params), alone(state.params), strict=True):
    np.testing.assert_array_equal(a, b)


def test_the_layers_of_a_scanned_run_are_those_of_its_blocks(tmp_path, capsys):
  state = save(tmp_path, tiny(True))
  assert inspect.main([str(tmp_path), "--layers"]) == 0
  layers = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
  assert layers == [
    "bn0",
    *(f"stage1_block{i}/bn{j}" for i in (1, 2, 3) for j in (1, 2)),
  ]
  found = statistics.at(state.batch_stats, "stage1_block3/bn1", [2, 0])
  for branch, values in found.items():
    stacked = state.batch_stats["stage1_blocks"]["bn1"][branch]
    assert values["mean"] == np.asarray(stacked["mean"][1])[[2, 0]].tolist()
