"""What is published of the chips, and which slices of them can be rented.

Sources: the "System architecture" and "Configurations" tables of Google Cloud's pages
cloud.google.com/tpu/docs/{v3,v4,v5e,v5p,v6e}, and NVIDIA's data sheet of the H100 SXM.
(Of a v5e's bandwidth editions of its page say 819 GB/s and 800 GiB/s, which is 859;
JAX's own table for Pallas says 820, and 1,230 for a v4.)
"""

import dataclasses
from collections.abc import Mapping

GIB = 2**30
TFLOPS = 1e12  # operations a second
GBPS = 1e9  # bytes a second


@dataclasses.dataclass(frozen=True)
class Chip:
  """One kind of TPU.

  Attributes:
    peak: bfloat16 operations a second of a chip, a multiply-add being two.
    bandwidth: bytes a second of a chip's main memory.
    devices: JAX devices a chip. The two cores of a v3 are two devices; those of a v4
      and a v5p work as one.
    hbm: bytes of memory that the compiler lets a program on one device have. The chip
      has slightly more: the compiler keeps the rest.
    counts_cores: whether Google Cloud's names of slices count TensorCores, two of which
      make a chip, rather than chips.
    slices: chips of a slice -> its topology.
    config: the compiler's name of the way a chip's cores are used.
  """

  peak: float
  bandwidth: float
  devices: int
  hbm: int
  counts_cores: bool
  slices: Mapping[int, str]
  config: str = "default"

  @property
  def exact_peak(self) -> float:
    """Float32 operations a second: each is six in bfloat16 (jax.lax.Precision)."""
    return self.peak / 6


_FLAT = {
  4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8", 128: "8x16", 256: "16x16",
}  # fmt: skip
_V3 = {
  4: "2x2", 16: "4x4", 64: "8x8", 128: "8x16", 256: "16x16", 512: "16x32",
  1024: "32x32",
}  # fmt: skip
_CUBES = {
  4: "2x2x1", 8: "2x2x2", 16: "2x2x4", 32: "2x4x4", 64: "4x4x4", 128: "4x4x8",
  256: "4x8x8", 512: "8x8x8", 1024: "8x8x16", 2048: "8x16x16",
}  # fmt: skip

CHIPS: Mapping[str, Chip] = {
  "v3": Chip(123 * TFLOPS, 900 * GBPS, 2, int(15.48 * GIB), True, _V3),
  "v4": Chip(275 * TFLOPS, 1200 * GBPS, 1, int(30.75 * GIB), True, _CUBES, "megacore"),
  "v5e": Chip(197 * TFLOPS, 819 * GBPS, 1, int(15.75 * GIB), False, _FLAT),
  "v5p": Chip(459 * TFLOPS, 2765 * GBPS, 1, int(95.74 * GIB), True, _CUBES),
  "v6e": Chip(918 * TFLOPS, 1638 * GBPS, 1, int(31.25 * GIB), False, _FLAT),
}

# GPUs by JAX's device_kind: bfloat16 operations a second, dense; float32 ones, which
# have no tensor cores; and bytes a second of the memory.
GPUS: Mapping[str, tuple[float, float, float]] = {
  "NVIDIA H100 80GB HBM3": (989 * TFLOPS, 67 * TFLOPS, 3350 * GBPS)
}


def names(kind: str) -> dict[str, str]:
  """Google Cloud's names of the slices of a kind -> their topologies.

  Examples:
    >>> names("v4")["v4-128"], names("v5e")["v5e-256"]
    ('4x4x4', '16x16')
  """
  chip = CHIPS[kind]
  per = 2 if chip.counts_cores else 1
  return {f"{kind}-{chips * per}": shape for chips, shape in chip.slices.items()}
