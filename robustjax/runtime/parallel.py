"""Mapping over devices: the only file that names meshes.

`pmap` is JAX's pmap as JAX itself now defines it, jit(shard_map), without the leading
device axis: the state is one replicated tree, a batch is one array sharded over the
devices, and the body that runs on each device keeps its collectives.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from robustjax.errors import UserError

AXIS = "devices"  # the name that collectives in a mapped function use


def a_device_a_core(
  most: int = 8, fits: Callable[[int], bool] = lambda devices: True
) -> None:
  """Makes each core of a machine without accelerators a device, unless told how many.

  Several programs of small convolutions, a core each, are faster than one on all cores
  (benchmarks/README.md). To be called before JAX is asked for devices.

  Args:
    most: how many devices at most: each holds the weights, and has batches to fill.
    fits: whether batches can be cut over so many; there are as many as can be.
  """
  said = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
  if said or jax.config.jax_num_cpu_devices > 0:  # type: ignore[attr-defined]
    return
  own = hasattr(os, "sched_getaffinity")  # macOS has it not
  cores = len(os.sched_getaffinity(0)) if own else os.cpu_count() or 1
  devices = next((n for n in range(min(cores, most), 1, -1) if fits(n)), 1)
  with contextlib.suppress(RuntimeError):  # JAX knows its devices already
    jax.config.update("jax_num_cpu_devices", devices)


def mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
  """All devices of all processes, or those given, in one row."""
  if devices is None:
    # A process holds a batch's rows in one piece; JAX orders the devices of some
    # pods by their places in the torus, in which a host's are no neighbours.
    devices = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
  # Auto axes: the default, Explicit, would put shardings into every array's type.
  return Mesh(np.asarray(devices), (AXIS,), (AxisType.Auto,))


def platform(device: jax.Device) -> str:
  """What a network is built for: "cpu", "gpu", "tpu" or "tpu v6e"."""
  return "tpu v6e" if device.device_kind == "TPU v6 lite" else device.platform


def pmap(
  function: Callable[..., Any],
  mesh: Mesh,
  in_axes: Sequence[int | None] = (None, 0, None),
  out_axes: Any = None,
  donate_argnums: Sequence[int] = (),
) -> Callable[..., Any]:
  """Maps a per-device function over the devices of a mesh, and compiles it.

  Args:
    function: sees its device's share of the arguments and may use collectives over
      `AXIS`.
    mesh: from `mesh`.
    in_axes: for each argument, 0 if its arrays are cut along their first axis, None
      if every device sees all of it. The default fits (state, batch, key).
    out_axes: a prefix of the result's tree: 0 if the devices' arrays are joined along
      the first axis, None if they are the same on all of them. `function` must make
      them the same; nothing checks it.
    donate_argnums: arguments whose memory the result may take over.

  Returns:
    The compiled function of whole arrays.
  """

  def spec(axis: int | None) -> PartitionSpec:
    return PartitionSpec() if axis is None else PartitionSpec(AXIS)

  mapped = jax.shard_map(
    function,
    mesh=mesh,
    in_specs=tuple(spec(a) for a in in_axes),
    out_specs=jax.tree.map(spec, out_axes, is_leaf=lambda a: a is None),
    # Checking would make the gradients of replicated parameters sums over devices by
    # itself, and the body's own pmean would then leave them too large, silently.
    check_vma=False,
  )
  return jax.jit(mapped, donate_argnums=donate_argnums)


def once(function: Callable[..., Any]) -> Callable[..., Any]:
  """Compiles a function that is called a few times only, on one device.

  On CPUs with little optimisation, which would take seconds and save none.
  """
  little = {"xla_backend_optimization_level": 1}
  on_cpu = jax.default_backend() == "cpu"
  return jax.jit(function, compiler_options=little if on_cpu else None)


def shard(tree: Any, mesh: Mesh) -> Any:
  """A batch from this process's rows: arrays cut over the devices of the mesh."""
  sharding = NamedSharding(mesh, PartitionSpec(AXIS))
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(sharding, x), tree
  )


def replicate(tree: Any, mesh: Mesh) -> Any:
  """The same tree, on every device of the mesh."""
  return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def abstract_replicas(tree: Any, mesh: Mesh) -> Any:
  """What `replicate` would return, as shapes alone: for restoring into."""
  sharding = NamedSharding(mesh, PartitionSpec())
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
  )


def abstract_shards(tree: Any, mesh: Mesh) -> Any:
  """What `shard` would return over all processes, as shapes alone: for compiling."""
  sharding = NamedSharding(mesh, PartitionSpec(AXIS))
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
  )


def check_divides(
  batch_size: int, devices: int, group: int = 1, name: str = ""
) -> None:
  """Refuses a batch that the devices cannot share equally, in whole groups.

  Args:
    batch_size: images over all devices.
    devices: how many there are.
    group: images that must stay on one device.
    name: what sets the batch size, for the message.

  Raises:
    UserError: with the nearest batch sizes that divide.
  """
  unit = devices * group
  if batch_size > 0 and batch_size % unit == 0:
    return
  below, above = batch_size // unit * unit, (batch_size // unit + 1) * unit
  near = f"{below} or {above}" if below else f"{above}"
  shares = (
    f"{devices} devices" if group == 1 else f"{devices} devices in groups of {group}"
  )
  raise UserError(
    f"{name or 'a batch'} of {batch_size} images does not split over {shares}:"
    f" no image is ever dropped, so set it to {near}"
    + (", or change config.model.group" if group > 1 else "")
  )
