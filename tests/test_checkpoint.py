"""What is saved comes back, checked; the last three and the best are kept."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import tiny

from robustjax.errors import UserError
from robustjax.runtime import checkpoint, parallel
from robustjax.training import state


@pytest.fixture
def now():
  """A train state with momentum."""
  return state.create(tiny().init, optax.sgd(0.1, 0.9), jax.random.key(0), (8, 8, 3))


@pytest.fixture
def open_():
  """Opens checkpoints; closes all of them at the end."""
  with contextlib.ExitStack() as stack:

    def opened(tmp_path):
      made = checkpoint.Checkpoints(tmp_path / "checkpoints", "accuracy")
      return stack.enter_context(contextlib.closing(made))

    yield opened


def save(tmp_path, states):
  made = checkpoint.Checkpoints(tmp_path / "checkpoints", "accuracy")
  with contextlib.closing(made) as checkpoints:
    for step, (saved, accuracy) in states.items():
      checkpoints.save(step, saved, {"accuracy": accuracy})


def test_round_trip_is_exact(tmp_path, now, open_):
  save(tmp_path, {7: (now, 0.5)})
  zeros = jax.tree.map(jnp.zeros_like, now)
  back = open_(tmp_path).restore(zeros)
  assert jax.tree.structure(back) == jax.tree.structure(now)
  jax.tree.map(np.testing.assert_array_equal, back, now)


def test_restores_onto_other_devices(tmp_path, now, open_):
  mesh = parallel.mesh()
  save(tmp_path, {7: (parallel.replicate(now, parallel.mesh(jax.devices()[:2])), 0.5)})
  back = open_(tmp_path).restore(parallel.replicate(now, mesh))
  jax.tree.map(np.testing.assert_array_equal, back, now)
  assert all(x.sharding.device_set == set(jax.devices()) for x in jax.tree.leaves(back))


def test_keeps_the_last_three_and_the_best(tmp_path, now, open_):
  rates = {1: 0.1, 2: 0.9, 3: 0.2, 4: 0.3, 5: 0.4, 6: 0.5}
  save(tmp_path, {step: (now, rate) for step, rate in rates.items()})
  assert open_(tmp_path).steps() == [2, 4, 5, 6]


def test_what_was_saved_is_of_the_moment_even_if_the_state_is_donated(
  tmp_path, now, open_
):
  """A save goes on in the background while the next step takes the memory over."""
  mesh = parallel.mesh()
  advance = parallel.pmap(
    lambda s: jax.tree.map(lambda x: x + 1, s), mesh, (None,), donate_argnums=(0,)
  )
  first = jax.tree.map(np.array, now)
  running, checkpoints = parallel.replicate(first, mesh), open_(tmp_path)
  for step in range(4):
    checkpoints.save(step, running, {"accuracy": 0.0})
    running = advance(running)
  checkpoints.wait()
  for step in checkpoints.steps():
    back = checkpoints.restore(now, step)
    expected = jax.tree.map(lambda x, n=step: x + n, first)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), back, expected
    )


def test_a_flipped_bit_is_found_and_named(tmp_path, now, open_, monkeypatch):
  save(tmp_path, {3: (now, 0.1), 9: (now, 0.2)})
  checkpoints = open_(tmp_path)
  loaded = checkpoints._checkpointer.load

  def flipped(*args):
    tree = loaded(*args)
    kernel = np.array(tree["params"]["fc"]["kernel"])
    kernel.view(np.uint32)[0, 0] ^= 1  # the last bit of a mantissa
    tree["params"]["fc"]["kernel"] = jnp.asarray(kernel)
    return tree

  monkeypatch.setattr(checkpoints._checkpointer, "load", flipped)
  with pytest.raises(UserError, match="params/fc/kernel .*go on from step 3"):
    checkpoints.restore(now)


def test_a_damaged_file_is_one_line_with_the_remedy(tmp_path, now, open_):
  save(tmp_path, {9: (now, 0.2)})
  files = [p for p in (tmp_path / "checkpoints/9/state").rglob("*") if p.is_file()]
  largest = max(files, key=lambda p: p.stat().st_size)
  largest.write_bytes(largest.read_bytes()[:-20])
  with pytest.raises(UserError, match="checkpoints/9 is damaged.*start anew") as caught:
    open_(tmp_path).restore(now)
  assert "\n" not in str(caught.value)


def test_another_model_is_told(tmp_path, now, open_):
  save(tmp_path, {9: (now, 0.2)})
  key, optimizer = jax.random.key(0), optax.sgd(0.1, 0.9)
  wider = state.create(tiny(width=8).init, optimizer, key, (8, 8, 3))
  with pytest.raises(UserError, match="another model: batch_stats/bn0/.*float32"):
    open_(tmp_path).restore(wider)


def test_nothing_to_restore_is_told(tmp_path, now, open_):
  with pytest.raises(UserError, match="no checkpoint of step None .* is empty"):
    open_(tmp_path).restore(now)


def test_a_step_is_never_overwritten(tmp_path, now, open_):
  save(tmp_path, {3: (now, 0.1)})
  save(tmp_path, {3: (jax.tree.map(jnp.zeros_like, now), 0.1)})
  back = open_(tmp_path).restore(now)
  jax.tree.map(np.testing.assert_array_equal, back, now)


def test_digests_tell_values_shapes_and_types_apart():
  def digest(x):
    return checkpoint.digests({"a": {"b": x}})["a/b"]

  x = np.arange(6, dtype=np.float32)
  different = [x, x + 1, x.reshape(2, 3), x.astype(np.int32), x.view(np.int32)]
  assert len({digest(y) for y in different}) == 5
  assert digest(x) == digest(jnp.asarray(x))
