"""What is saved comes back, checked; the last three and the best are kept."""

import contextlib
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import tiny

from robustjax.errors import UserError
from robustjax.runtime import checkpoint, files, parallel
from robustjax.training import state


@pytest.fixture
def now():
  """A train state with momentum."""
  return state.create(tiny().init, optax.sgd(0.1, 0.9), jax.random.key(0), (8, 8, 3))


def restore(tmp_path, state, step):
  return checkpoint.restore(tmp_path / "checkpoints", state, step)


def steps(tmp_path):
  return checkpoint.steps(tmp_path / "checkpoints")


def save(tmp_path, states):
  made = checkpoint.Checkpoints(tmp_path / "checkpoints", "accuracy", {"seed": 0})
  with contextlib.closing(made) as checkpoints:
    for step, (saved, accuracy) in states.items():
      checkpoints.save(step, saved, {"accuracy": accuracy})


def test_round_trip_is_exact(tmp_path, now):
  save(tmp_path, {7: (now, 0.5)})
  zeros = jax.tree.map(jnp.zeros_like, now)
  back = restore(tmp_path, zeros, 7)
  assert jax.tree.structure(back) == jax.tree.structure(now)
  jax.tree.map(np.testing.assert_array_equal, back, now)


def test_restores_onto_other_devices(tmp_path, now):
  mesh = parallel.mesh()
  save(tmp_path, {7: (parallel.replicate(now, parallel.mesh(jax.devices()[:2])), 0.5)})
  back = restore(tmp_path, parallel.replicate(now, mesh), 7)
  jax.tree.map(np.testing.assert_array_equal, back, now)
  assert all(x.sharding.device_set == set(jax.devices()) for x in jax.tree.leaves(back))


def test_keeps_the_last_three_and_the_best(tmp_path, now):
  rates = {1: 0.1, 2: 0.9, 3: 0.2, 4: 0.3, 5: 0.4, 6: 0.5}
  save(tmp_path, {step: (now, rate) for step, rate in rates.items()})
  assert steps(tmp_path) == [2, 4, 5, 6]


def test_what_was_saved_is_of_the_moment_even_if_the_state_is_donated(tmp_path, now):
  """A save goes on in the background while the next step takes the memory over."""
  mesh = parallel.mesh()
  advance = parallel.pmap(
    lambda s: jax.tree.map(lambda x: x + 1, s), mesh, (None,), donate_argnums=(0,)
  )
  first = jax.tree.map(np.array, now)
  running = parallel.replicate(first, mesh)
  made = checkpoint.Checkpoints(tmp_path / "checkpoints", "accuracy")
  with contextlib.closing(made) as checkpoints:
    for step in range(4):
      checkpoints.save(step, running, {"accuracy": 0.0})
      running = advance(running)
  for step in steps(tmp_path):
    back = restore(tmp_path, now, step)
    expected = jax.tree.map(lambda x, n=step: x + n, first)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), back, expected
    )


def test_a_flipped_bit_is_found_and_named(tmp_path, now, monkeypatch):
  save(tmp_path, {9: (now, 0.2)})
  loaded = checkpoint.ocp.load

  def flipped(*args, **named):
    tree = loaded(*args, **named)
    kernel = np.array(tree["params"]["fc"]["kernel"])
    kernel.view(np.uint32)[0, 0] ^= 1  # the last bit of a mantissa
    tree["params"]["fc"]["kernel"] = jnp.asarray(kernel)
    return tree

  monkeypatch.setattr(checkpoint.ocp, "load", flipped)
  with pytest.raises(files.Damaged, match="params/fc/kernel is not what was saved"):
    restore(tmp_path, now, 9)


def test_a_damaged_file_is_one_line(tmp_path, now):
  save(tmp_path, {9: (now, 0.2)})
  stored = [p for p in (tmp_path / "checkpoints/9/state").rglob("*") if p.is_file()]
  largest = max(stored, key=lambda p: p.stat().st_size)
  largest.write_bytes(largest.read_bytes()[:-20])
  with pytest.raises(files.Damaged, match="checkpoints/9 is damaged") as caught:
    restore(tmp_path, now, 9)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["_CHECKPOINT_METADATA", "metrics/metrics"])
@pytest.mark.parametrize("how", ["flipped", "cut", "null", "empty"])
def test_what_a_checkpoint_says_of_itself_is_checked(tmp_path, now, name, how):
  save(tmp_path, {3: (now, 0.1), 9: (now, 0.2)})
  folder = tmp_path / "checkpoints"
  path = folder / "9" / name
  content = path.read_bytes()
  at = content.index(b"float32") if b"float32" in content else len(content) // 2
  flipped = content[:at] + bytes([content[at] ^ 0x80]) + content[at + 1 :]
  path.write_bytes(
    {"flipped": flipped, "cut": content[:-9], "null": b"null", "empty": b""}[how]
  )
  with pytest.raises(files.Damaged, match="checkpoints/9 is damaged"):
    checkpoint.about(folder, 9)
  assert checkpoint.about(folder, 3).run == {"seed": 0}
  restore(tmp_path, now, 3)


def test_a_changed_shape_is_damage_and_no_other_model(tmp_path, now):
  save(tmp_path, {9: (now, 0.2)})
  path = tmp_path / "checkpoints/9/_CHECKPOINT_METADATA"
  value = json.loads(path.read_bytes())
  value["custom_metadata"]["shapes"]["params/fc/kernel"] = "float32[4, 99]"
  path.write_text(json.dumps(value))
  with pytest.raises(files.Damaged, match="not what was saved"):
    restore(tmp_path, now, 9)


def test_another_model_is_told(tmp_path, now):
  save(tmp_path, {9: (now, 0.2)})
  key, optimizer = jax.random.key(0), optax.sgd(0.1, 0.9)
  wider = state.create(tiny(width=8).init, optimizer, key, (8, 8, 3))
  with pytest.raises(UserError, match="another model: batch_stats/bn0/.*float32"):
    restore(tmp_path, wider, 9)


def test_a_step_is_never_overwritten(tmp_path, now):
  save(tmp_path, {3: (now, 0.1)})
  save(tmp_path, {3: (jax.tree.map(jnp.zeros_like, now), 0.1)})
  back = restore(tmp_path, now, 3)
  jax.tree.map(np.testing.assert_array_equal, back, now)


def test_digests_tell_values_shapes_and_types_apart():
  def digest(x):
    return checkpoint.digests({"a": {"b": x}})["a/b"]

  x = np.arange(6, dtype=np.float32)
  different = [x, x + 1, x.reshape(2, 3), x.astype(np.int32), x.view(np.int32)]
  assert len({digest(y) for y in different}) == 5
  assert digest(x) == digest(jnp.asarray(x))


def test_a_disk_that_takes_no_more_is_a_line_with_what_is_safe(
  tmp_path, now, monkeypatch
):
  save(tmp_path, {3: (now, 0.1)})
  made = checkpoint.Checkpoints(tmp_path / "checkpoints", "accuracy")

  def full(*_, **__):
    raise ValueError("RESOURCE_EXHAUSTED: write failed:\nNo space left on device")

  monkeypatch.setattr(made._checkpointer, "save_async", full)
  with pytest.raises(UserError, match="No space left.*step 3 is the last that is safe"):
    made.save(9, now, {"accuracy": 0.1})
  made.close()


@pytest.mark.parametrize(
  "error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory on device")]
)
def test_what_cannot_be_read_for_now_is_not_damaged(tmp_path, now, monkeypatch, error):
  save(tmp_path, {9: (now, 0.2)})

  def fails(*_, **__):
    raise error

  monkeypatch.setattr(checkpoint.ocp, "load", fails)
  with pytest.raises(UserError, match="cannot be read now") as caught:
    restore(tmp_path, now, 9)
  assert not isinstance(caught.value, files.Damaged)


def test_what_is_said_to_a_closed_loop_is_not_heard(monkeypatch):
  told = []
  monkeypatch.setattr(checkpoint, "_unraisable", told.append)
  for words in ("Event loop is closed", "another"):
    error = RuntimeError(words)
    checkpoint._heard(types.SimpleNamespace(exc_value=error))
  assert [str(lost.exc_value) for lost in told] == ["another"]
