"""Adversarial images on disk: what was counted can be looked at, and checked again."""

from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from robustjax.runtime import files


def save(folder: Path, adv: jax.Array, wanted: Mapping[int, int]) -> dict[int, str]:
  """Saves some rows of a batch, each process those that it holds.

  Args:
    folder: of the evaluation.
    adv: [n, h, w, c] float32, over the devices of all processes.
    wanted: row -> the image's index.

  Returns:
    Row -> the file's name in the folder, "adv/17.npy".
  """
  names = {row: f"adv/{index}.npy" for row, index in wanted.items()}
  (folder / "adv").mkdir(parents=True, exist_ok=True)
  for shard in adv.addressable_shards:
    first = shard.index[0].start or 0
    own = np.asarray(shard.data)
    for row in range(first, first + len(own)):
      if row in names:
        files.write_array(folder / names[row], own[row - first])
  return names


def load(folder: Path, adv: jax.Array, names: Mapping[int, str]) -> jax.Array:
  """The batch with the rows that were saved as the files have them."""
  parts = []
  for shard in adv.addressable_shards:
    rows, first = np.array(shard.data), shard.index[0].start or 0
    for row, name in names.items():
      if first <= row < first + len(rows):
        rows[row - first] = np.load(folder / name, allow_pickle=False)
    parts.append(jax.device_put(rows, shard.device))
  return jax.make_array_from_single_device_arrays(adv.shape, adv.sharding, parts)
