"""Which images stand for a whole split."""

from collections.abc import Sequence

import numpy as np

from robustjax.data.folder import Files
from robustjax.data.sources import Source
from robustjax.errors import UserError


def indices(source: Source, count: int) -> Sequence[int]:
  """So many images: the first ones, or of an image folder a fixed random choice.

  A folder's images are in the order of their classes, so that the first thousand would
  be of few of them. The choice is the same for all networks and all times.

  Raises:
    UserError: there are not so many.
  """
  if count > len(source):
    raise UserError(
      f"{source.name}, split {source.split}, has {len(source)} images, not {count}: ask"
      " for fewer with --images"
    )
  if count == len(source) or not isinstance(source.records, Files):
    return range(count)
  chosen = np.random.default_rng(0).permutation(len(source))[:count]
  return [int(i) for i in np.sort(chosen)]
