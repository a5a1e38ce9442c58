"""What a network says of clean images, whose pixels may be changed before it sees them.

A network with another normaliser or another order of channels is this one on other
pixels: x -> (x - m') / s' before it is x -> (x - m) / s on (x - m') / s' * s + m.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from robustjax.errors import UserError
from robustjax.evaluation.network import Network
from robustjax.run.data import Images
from robustjax.runtime import log, parallel
from robustjax.runtime.preemption import Stop, Stopped

Channels = Sequence[float] | npt.NDArray[Any]  # a value for all, or one a channel


class Pixels(NamedTuple):
  """A change of pixels: channels reversed or not, then scale * x + shift."""

  reversed: bool = False
  scale: Channels = (1.0,)
  shift: Channels = (0.0,)


AS_THEY_ARE = Pixels()


class Predictions(NamedTuple):
  """What was predicted; arrays of [n], in the order of the images.

  Attributes:
    predicted: the class.
    label: the true one.
    counted: whether the image could be read.
  """

  predicted: npt.NDArray[np.int32]
  label: npt.NDArray[np.int32]
  counted: npt.NDArray[np.bool_]

  @property
  def right(self) -> npt.NDArray[np.bool_]:
    """Whether an image is taken for its class."""
    return (self.predicted == self.label) & self.counted

  @property
  def counts(self) -> tuple[int, int]:
    """Images that are right, and all that were counted."""
    return int(self.right.sum()), int(self.counted.sum())


@dataclass(frozen=True)
class Reader:
  """Reads clean images through one network; one program, whatever the change.

  Attributes:
    network: whose predictions count.
    channels: of an image.
    batch_size: images a device.
    mesh: the devices.
    stop: asked after every batch.
    shows: whether this process draws a progress bar.
  """

  network: Network
  channels: int
  batch_size: int
  mesh: Any
  stop: Stop
  shows: bool = True

  @functools.cached_property
  def _program(self) -> Callable[..., Any]:
    def read(variables: Any, batch: Any, order: Any, scale: Any, shift: Any) -> Any:
      images = jnp.take(batch["image"].astype(jnp.float32), order, -1) * scale + shift
      logits = self.network.logits(variables, images)
      found = {
        "predicted": logits.argmax(-1).astype(jnp.int32),
        "label": batch["label"],
        "counted": batch["mask"],
        "finite": jnp.isfinite(logits).all(-1),
      }
      return jax.tree.map(
        lambda x: jax.lax.all_gather(x, parallel.AXIS, tiled=True), found
      )

    same = None
    return parallel.pmap(read, self.mesh, (same, 0, same, same, same), same)

  def __call__(
    self,
    images: Images,
    indices: Sequence[int],
    changes: Sequence[Pixels] = (AS_THEY_ARE,),
  ) -> list[Predictions]:
    """Predictions of some images, for each change of their pixels.

    Raises:
      Stopped: `stop` asked for it.
      UserError: logits are not finite, or no image can be read.
    """
    everywhere, count = self.batch_size * self.mesh.size, len(indices)
    rows: list[list[Any]] = [[] for _ in changes]
    bar = log.progress(
      "clean", count * len(changes), 0, "images", self.shows, compiles=True
    )
    try:
      for batch in images.batches(indices, everywhere, self.mesh):
        for change, found in zip(changes, rows, strict=True):
          found.append(jax.device_get(self._read(batch, change)))
        bar.update(min(everywhere * len(changes), bar.total - bar.n))
        if self.stop.requested():
          raise Stopped("while it read the clean images")
    finally:
      bar.close()
    return [self._joined(found, count) for found in rows]

  def _read(self, batch: Any, change: Pixels) -> Any:
    order = np.arange(self.channels)[:: -1 if change.reversed else 1]
    values = (np.asarray(v, np.float32) for v in (change.scale, change.shift))
    return self._program(self.network.variables, batch, order, *values)

  def _joined(self, rows: Sequence[Mapping[str, Any]], count: int) -> Predictions:
    whole = {n: np.concatenate([row[n] for row in rows])[:count] for n in rows[0]}
    if (~whole.pop("finite") & whole["counted"]).any():
      raise UserError(
        f"the logits of {self.network.name} are not finite on clean images: see whether"
        " its weights are, or compute in float32"
      )
    if not whole["counted"].any():
      raise UserError("all images are broken: prepare the data set again")
    return Predictions(**whole)
