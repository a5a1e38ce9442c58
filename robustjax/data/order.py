"""The order of training: which image a position has, and how it is augmented.

Training data is one endless sequence of positions. A position says which image is
read and how it is augmented, and nothing else does: not the batch size, not the
number of processes or workers, not where a run was resumed. Global batch k is
positions [k * batch_size, (k + 1) * batch_size); process p of n holds the p-th n-th
of it in order, which is what JAX's data sharding expects of it.
"""

import grain
import numpy as np

SEEDS = 2**32
# Four rounds are what Grain's own shuffle uses.
_SHUFFLE_ROUNDS = 4


def record(position: int, n: int, seed: int) -> tuple[int, int]:
  """What is read at a position of the endless training sequence.

  Every epoch is another permutation of all images.

  Args:
    position: 0 and up.
    n: the number of images, at least 1.
    seed: 0..2**32 - 1.

  Returns:
    The epoch, position // n, and the image's index in the source, 0..n - 1.
  """
  epoch, offset = divmod(position, n)
  shuffle = int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])
  index = grain.experimental.index_shuffle(
    offset, max_index=n - 1, seed=shuffle, rounds=_SHUFFLE_ROUNDS
  )
  return epoch, int(index)


def augmentation_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
  """The randomness of one image's augmentation in one epoch.

  Args:
    seed: 0..2**32 - 1.
    epoch: 0 and up.
    index: the image's index in the source.

  Returns:
    A fresh generator, the same for the same three numbers on every machine.
  """
  key = np.random.SeedSequence((seed, epoch, index), spawn_key=(1,))
  return np.random.Generator(np.random.Philox(key))


def steps_per_epoch(n: int, batch_size: int) -> int:
  """The number of steps counted as one epoch (FD: round(1281167 / batch)).

  Args:
    n: the number of images.
    batch_size: the global batch size in images.

  Returns:
    n / batch_size rounded to the nearest, at least 1.
  """
  return max(1, round(n / batch_size))
