"""pmap's meaning, and batches that do not divide."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robustjax.errors import UserError
from robustjax.runtime import parallel


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_devices_see_their_rows_and_collectives_see_all(devices):
  mesh = parallel.mesh(jax.devices()[:devices])

  def body(scale, x):
    mean = jax.lax.pmean(jnp.mean(x), parallel.AXIS)
    return {"mine": x * scale, "mean": mean, "rows": jnp.array(x.shape[0])}

  out = {"mine": 0, "mean": None, "rows": None}
  mapped = parallel.pmap(body, mesh, in_axes=(None, 0), out_axes=out)
  x = np.arange(16.0).reshape(16, 1)
  found = mapped(2.0, parallel.shard(x, mesh))
  np.testing.assert_array_equal(found["mine"], 2 * x)
  assert found["mean"] == x.mean() and found["rows"] == 16 // devices


def test_the_devices_of_a_process_stand_together(monkeypatch):
  """JAX orders those of some pods by their places in the torus."""

  class Device:
    def __init__(self, number, process):
      self.id, self.process_index = number, process

  torus = [Device(number, process) for number, process in enumerate((1, 0, 1, 0))]
  monkeypatch.setattr(parallel.jax, "devices", lambda: torus)
  monkeypatch.setattr(parallel, "Mesh", lambda devices, *_: list(devices))
  assert [device.id for device in parallel.mesh()] == [1, 3, 0, 2]


def test_gradients_are_means_not_sums():
  """What an explicit pmean after an automatic sum would get wrong."""
  mesh, x = parallel.mesh(), jnp.arange(8.0)

  def body(w, x):
    return jax.lax.pmean(jax.grad(lambda w: jnp.mean(w * x))(w), parallel.AXIS)

  mapped = parallel.pmap(body, mesh, in_axes=(None, 0))
  assert mapped(1.0, parallel.shard(x, mesh)) == x.mean()


def test_replicate_puts_the_same_on_every_device():
  mesh = parallel.mesh()
  x = parallel.replicate({"a": jnp.arange(3)}, mesh)["a"]
  assert len(x.addressable_shards) == 8
  assert all(s.data.shape == (3,) for s in x.addressable_shards)


@pytest.mark.parametrize(
  "size, group, words",
  [
    (100, 1, "100 images does not split over 8 devices: .* set it to 96 or 104"),
    (128, 32, "8 devices in groups of 32: .* set it to 256, or .*config.model.group"),
    (0, 1, "set it to 8"),
  ],
)
def test_batches_that_do_not_divide_are_refused(size, group, words):
  with pytest.raises(UserError, match=words) as caught:
    parallel.check_divides(size, 8, group, "config.x")
  assert "\n" not in str(caught.value)


def test_batches_that_divide_pass():
  parallel.check_divides(256, 8, 32)


@pytest.mark.parametrize(
  ("kind", "platform", "name"),
  [
    ("TPU v6 lite", "tpu", "tpu v6e"), ("TPU v5 lite", "tpu", "tpu"),
    ("NVIDIA H100 80GB HBM3", "gpu", "gpu"), ("cpu", "cpu", "cpu"),
  ],
)  # fmt: skip
def test_one_kind_of_tpu_is_a_platform_of_its_own(kind, platform, name):
  device = types.SimpleNamespace(device_kind=kind, platform=platform)
  assert parallel.platform(device) == name


@pytest.mark.parametrize(
  "cores, said, fits, devices",
  [
    (2, -1, lambda n: True, 2),
    (64, -1, lambda n: True, 8),
    (8, -1, lambda n: 64 % (32 * n) == 0, 2),
    (8, -1, lambda n: False, 1),
    (8, 3, lambda n: True, 3),
  ],
)
def test_a_core_is_a_device_where_batches_can_be_cut(
  monkeypatch, cores, said, fits, devices
):
  config = types.SimpleNamespace(jax_num_cpu_devices=said)
  config.update = lambda name, value: setattr(config, name, value)
  monkeypatch.setattr(parallel.jax, "config", config)
  monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda _: range(cores))
  monkeypatch.delitem(parallel.os.environ, "XLA_FLAGS", raising=False)
  parallel.a_device_a_core(fits=fits)
  assert config.jax_num_cpu_devices == devices
