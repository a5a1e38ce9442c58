"""The devices to compile for: a slice of TPUs that is not here, or what is here."""

import dataclasses
import difflib
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.experimental import topologies

from robustjax.errors import UserError
from robustjax.preflight import chips

# libtpu looks for a TPU and its hosts when it loads, and for other programs that hold
# one. There is none to find: these say so, and keep its warnings away.
_NO_TPU = {
  "TPU_SKIP_MDS_QUERY": "1",
  "TPU_ACCELERATOR_TYPE": "v5litepod-8",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "TPU_STDERR_LOG_LEVEL": "3",
  "TPU_LOG_DIR": "disabled",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
# A host has four chips, but for these slices of one host with eight.
_ONE_HOST: Mapping[str, Mapping[str, Any]] = {
  name: {"chips_per_host_bounds": (2, 4, 1)} for name in ("v5e:2x4", "v6e:2x4")
}
# Other names that people use for the same chips.
_ALIASES = {"v5litepod": "v5e", "v6lite": "v6e"}


@dataclasses.dataclass(frozen=True)
class Target:
  """What is compiled for.

  Attributes:
    name: as a person calls it, such as "v5e:16x16".
    devices: as JAX will have them there, in its order.
    chips: how many, or None where a device is no part of a chip that is rented.
    hosts: how many processes a run has.
    hbm: bytes of memory a device that a program can use.
    peak: bfloat16 operations a second of a device, or None if none is published.
    exact_peak: float32 ones, or None likewise.
    bandwidth: bytes a second of a device's main memory, or None likewise.
    compiler: its name and version.
  """

  name: str
  devices: Sequence[Any]
  chips: int | None
  hosts: int
  hbm: int
  peak: float | None
  exact_peak: float | None
  bandwidth: float | None
  compiler: str

  @property
  def is_tpu(self) -> bool:
    """Whether it is a slice of TPUs."""
    return self.devices[0].platform == "tpu"


def tpu(name: str) -> Target:
  """A slice of TPUs, by the compiler's topology or by Google Cloud's name.

  Args:
    name: such as "v5e:16x16" or "v5e-256". Names of v3, v4 and v5p slices count
      TensorCores, two of which make a chip: v4-128 has 64 chips.

  Returns:
    The slice; nothing of it need be here.

  Raises:
    UserError: there is no such slice, or libtpu is not installed.
  """
  kind, shape = _parse(name)
  if importlib.util.find_spec("libtpu") is None:
    raise UserError(
      f"compiling for {name} needs the TPU compiler, libtpu, which is not installed:"
      f" pip install 'libtpu{_wanted_libtpu()}' (no TPU is needed)"
    )
  os.environ.update(_NO_TPU)
  jax.config.update("jax_platforms", "cpu")  # a TPU that is here stays free
  # It cannot read back what was compiled for absent devices.
  jax.config.update("jax_enable_compilation_cache", False)
  chip = chips.CHIPS[kind]
  try:
    found = topologies.get_topology_desc(
      platform="tpu",
      topology_name=f"{kind}:{shape}",
      chip_config_name=chip.config,
      **_ONE_HOST.get(f"{kind}:{shape}", {}),
    )
  except jax.errors.JaxRuntimeError as error:
    reason = " ".join(str(error).split())
    raise UserError(f"the TPU compiler refuses {kind}:{shape}: {reason}") from error
  # In the order of `parallel.mesh`.
  every: Sequence[Any] = found.devices
  devices = sorted(every, key=lambda d: (d.process_index, d.id))
  return Target(
    name=f"{kind}:{shape}",
    devices=devices,
    chips=len(devices) // chip.devices,
    hosts=len({device.process_index for device in devices}),
    hbm=chip.hbm,
    peak=chip.peak / chip.devices,
    exact_peak=chip.exact_peak / chip.devices,
    bandwidth=chip.bandwidth / chip.devices,
    compiler=f"libtpu {importlib.metadata.version('libtpu')}",
  )


def cpu() -> Target:
  """The CPU devices of this machine, among which its memory is shared."""
  devices = jax.devices("cpu")
  memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  share = memory // len(devices)
  return Target("cpu", devices, None, 1, share, None, None, None, _jaxlib())


def gpu(name: str) -> Target:
  """The GPUs of this machine: their compiler asks them for their properties.

  Args:
    name: what the person calls them, such as "h100".

  Raises:
    UserError: JAX sees no such GPU.
  """
  try:
    devices = jax.devices("gpu")
  except RuntimeError as error:
    raise UserError(
      f"--device={name} compiles on a machine that has the GPU, with"
      " pip install 'jax[cuda13]', since XLA tries a GPU's convolutions out while it"
      " compiles; JAX sees no GPU here"
    ) from error
  kind = devices[0].device_kind
  if name.lower() not in kind.lower():
    raise UserError(f"--device={name}: the GPU here is {kind!r}")
  peak, exact_peak, bandwidth = chips.GPUS.get(kind, (None, None, None))
  return Target(
    name=kind,
    devices=devices,
    chips=len(devices),
    hosts=len({device.process_index for device in devices}),
    hbm=(devices[0].memory_stats() or {})["bytes_limit"],
    peak=peak,
    exact_peak=exact_peak,
    bandwidth=bandwidth,
    compiler=_jaxlib(),
  )


def _jaxlib() -> str:
  return f"jaxlib {importlib.metadata.version('jaxlib')}"


def _parse(name: str) -> tuple[str, str]:
  """A kind in `chips.CHIPS` and a topology such as "16x16"."""
  found = re.fullmatch(r"(\w+)([:-])(\w+)", name)
  kind = _ALIASES.get(found.group(1), found.group(1)) if found else ""
  if not found or kind not in chips.CHIPS:
    raise UserError(
      f"there is no TPU slice {name!r}: say one such as v5e:16x16, or Google Cloud's"
      f" name, v5e-256; kinds are {', '.join(chips.CHIPS)}"
    )
  have = chips.names(kind)
  shapes = list(have.values())
  if found.group(2) == ":" and found.group(3) in shapes:
    return kind, found.group(3)
  if found.group(2) == "-" and f"{kind}-{found.group(3)}" in have:
    return kind, have[f"{kind}-{found.group(3)}"]
  listed = ", ".join(f"{slice_} ({shape})" for slice_, shape in have.items())
  counts = "; the number counts TensorCores" if chips.CHIPS[kind].counts_cores else ""
  near = difflib.get_close_matches(name, [*have, *(f"{kind}:{s}" for s in shapes)], 1)
  hint = f"did you mean {near[0]}? " if near else ""
  raise UserError(f"no slice {name!r} is known: {hint}there is {listed}{counts}")


def _wanted_libtpu() -> str:
  """The version of libtpu that the installed JAX asks for, such as "==0.0.42.*"."""
  for line in importlib.metadata.requires("jax") or []:
    if found := re.match(r"libtpu\s*([=<>~!][^;]*)", line):
      return found.group(1).strip()
  return ""
