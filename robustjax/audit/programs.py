"""The compiled programs of an audit, over all devices, and images in full batches.

Few a network, whatever is asked of them: losses, eps and steps are traced numbers.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from robustjax.attacks import pgd
from robustjax.attacks.apgd import APGD
from robustjax.attacks.balls import Ball
from robustjax.attacks.square import Square
from robustjax.audit import walk
from robustjax.evaluation.network import Logits, Network
from robustjax.runtime import parallel, settings

Array = npt.NDArray[Any]
Norm = Literal["linf", "l2"]
Rows = Mapping[str, Array]  # "image", "label", "index", "target", each [n, ...]


@dataclasses.dataclass(frozen=True)
class Effort:
  """How much an audit does.

  Attributes:
    steps: of an attack as it is usually made: PGD-20 (Madry et al. 2018).
    most: steps of the longest attack.
    apgd: steps of Auto-PGD.
    queries: of the Square attack.
    batch_size: images in a program, over all devices.
  """

  steps: int = 20
  most: int = 100
  apgd: int = 50
  queries: int = 300
  batch_size: int = 64


class Found(NamedTuple):
  """What an attack found.

  Attributes:
    adv: [n, h, w, c].
    predicted: [n], the class that it is taken for.
    broken: [n] bool, whether that is another than the true one.
    loss: [n], the cross-entropy there, in float64, where it hardly saturates.
  """

  adv: Array
  predicted: Array
  broken: Array
  loss: Array


class Programs:
  """A network under every attack of the audit.

  Args:
    network: whose images are broken or not.
    rows: the images, "image" [n, h, w, c] in 0..255, "label", "index" and "target" [n].
    norm: of the ball.
    seed: of all randomness, with the indices.
    mesh: from `parallel.mesh`.
    effort: how much it does.
  """

  def __init__(
    self,
    network: Network,
    rows: Rows,
    norm: Norm,
    seed: int,
    mesh: Any,
    effort: Effort,
  ):
    self.network, self.rows, self.mesh, self.effort = network, rows, mesh, effort
    self.norm = norm
    # Named, so that a program draws the same whatever JAX's default is.
    self._key = settings.key(seed)
    self._variables = parallel.replicate(network.variables, mesh)
    devices = mesh.devices.size
    wanted = min(effort.batch_size, len(rows["label"]))
    self._size = -(-wanted // devices) * devices

  def over(
    self, program: Callable[..., Any], rows: Rows, *values: Any
  ) -> dict[str, Array]:
    """What a program makes of rows, batch by batch; blank rows fill the last."""
    count, parts = len(rows["image"]), []
    for first in range(0, count, self._size):
      part = {name: array[first : first + self._size] for name, array in rows.items()}
      real = len(part["image"])
      blank = self._size - real
      full = {
        name: np.concatenate([array, np.zeros((blank, *array.shape[1:]), array.dtype)])
        for name, array in part.items()
      }
      made = program(self._variables, parallel.shard(full, self.mesh), *values)
      parts.append({k: np.asarray(v)[:real] for k, v in jax.device_get(made).items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

  def logits(self, images: Array) -> Array:
    """[n, k], what predictions come from."""
    rows = {"image": images.astype(np.float32)}
    return self.over(_forward(self.network.logits, self.mesh), rows)["logits"].astype(
      np.float32
    )

  def attacked_logits(self, images: Array) -> Array:
    """[n, k], what gradients come from: another program of the same function."""
    rows = {"image": images.astype(np.float32)}
    return self.over(
      _forward(self.network.attack_logits, self.mesh, attacked=True), rows
    )["logits"].astype(np.float32)

  def gradient(self, loss: str, images: Array) -> Array:
    """[n, h, w, c], of a loss of `walk.LOSSES`, at images of the rows' classes."""
    rows = {**self.rows, "image": images.astype(np.float32)}
    program = _gradient(self.network.attack_logits, self.mesh)
    return self.over(program, rows, walk.LOSSES.index(loss))["gradient"]

  def judged(self, adv: Array) -> Found:
    """Whether images are broken, by what predictions come from."""
    logits, labels = self.logits(adv), self.rows["label"]
    predicted = logits.argmax(-1)
    loss = _cross_entropy(logits, labels)
    return Found(adv, predicted, predicted != labels, loss)

  def walk(
    self,
    loss: str,
    eps: float,
    steps: int,
    step_size: float | None = None,
    *,
    clean_start: bool = False,
  ) -> dict[str, Array]:
    """Plain PGD: the arrays of a `walk.Walk`.

    Args:
      loss: of `walk.LOSSES`.
      eps: of 255.
      steps: at most the effort's `most`.
      step_size: of 255; by default 2.5 eps over the effort's `steps` (Madry et al.).
      clean_start: from the images themselves, not from a random point of the ball.
    """
    size = 2.5 * eps / self.effort.steps if step_size is None else step_size
    which = walk.LOSSES.index(loss)
    values = (np.float32(eps), np.float32(size), steps, which, clean_start)
    program = self._attack(_walk, self.network.attack_logits)
    return self.over(program, self.rows, self._key, *values)

  def apgd(self, loss: str, eps: float, *, rounded: bool = False) -> Array:
    """Auto-PGD: [n, h, w, c], what it broke, or the point of the highest loss.

    Args:
      loss: of `walk.LOSSES`.
      eps: of 255.
      rounded: whether the network sees images, and the loss logits, in bfloat16.
    """
    values = (np.float32(eps), walk.LOSSES.index(loss), rounded)
    program = self._attack(_apgd, self.network.attack_logits)
    return self.over(program, self.rows, self._key, *values)["adv"]

  def square(self, eps: float) -> Array:
    """The Square attack, L-infinity alone: [n, h, w, c], the best it found."""
    program = self._attack(_square, self.network.logits)
    return self.over(program, self.rows, self._key, np.float32(eps))["adv"]

  def _attack(self, make: Callable[..., Any], logits: Logits) -> Callable[..., Any]:
    return make(logits, self.norm, self.effort, self.mesh)


# Programs are kept: another branch is the same function of other variables.
_kept = functools.lru_cache(maxsize=16)


@_kept
def _forward(logits: Logits, mesh: Any, attacked: bool = False) -> Callable[..., Any]:
  # Traced by itself for the attacks, though it be the same function: one that draws
  # its noise while it is traced differs from itself there.
  def per_device(variables: Any, rows: Any) -> dict[str, jax.Array]:
    return {"logits": logits(variables, rows["image"])}

  return parallel.pmap(per_device, mesh, (None, 0), 0)


@_kept
def _gradient(logits: Logits, mesh: Any) -> Callable[..., Any]:
  def per_device(variables: Any, rows: Any, which: jax.Array) -> dict[str, jax.Array]:
    loss = walk.loss(which, rows["label"], rows["target"])
    total = lambda x: loss(logits(variables, x)).sum()  # noqa: E731
    return {"gradient": jax.grad(total)(rows["image"])}

  return parallel.pmap(per_device, mesh, (None, 0, None), 0)


def _mapped(per_device: Callable[..., Any], mesh: Any, values: int) -> Any:
  """Over (variables, rows, key, traced numbers)."""
  return parallel.pmap(per_device, mesh, (None, 0, None, *[None] * values), 0)


@_kept
def _walk(logits: Logits, norm: Norm, effort: Effort, mesh: Any) -> Any:
  def per_device(
    variables: Any,
    rows: Any,
    key: jax.Array,
    eps: Any,
    size: Any,
    steps: Any,
    which: jax.Array,
    clean_start: jax.Array,
  ) -> dict[str, jax.Array]:
    ball, images = Ball(norm, eps), rows["image"].astype(jnp.float32)
    noisy = ball.on_face(images, pgd.image_keys(key, rows["index"]))
    start = jnp.where(clean_start, images, noisy)
    attack = walk.PGD(ball, size, steps, effort.most)
    loss = walk.loss(which, rows["label"], rows["target"])
    network = functools.partial(logits, variables)
    return attack(network, loss, images, rows["label"], start)._asdict()

  return _mapped(per_device, mesh, 5)


@_kept
def _apgd(logits: Logits, norm: Norm, effort: Effort, mesh: Any) -> Any:
  def per_device(
    variables: Any,
    rows: Any,
    key: jax.Array,
    eps: Any,
    which: jax.Array,
    rounded: jax.Array,
  ) -> dict[str, jax.Array]:
    ball, images = Ball(norm, eps), rows["image"].astype(jnp.float32)
    start = ball.on_face(images, pgd.image_keys(key, rows["index"]))

    def network(x: jax.Array) -> jax.Array:
      seen = logits(variables, _rounded(x, rounded))
      return _rounded(seen.astype(jnp.float32), rounded)

    loss = walk.loss(which, rows["label"], rows["target"])
    found = APGD(ball, effort.apgd)(network, loss, images, rows["label"], start)
    broken = found.broken[:, None, None, None]
    return {"adv": jnp.where(broken, found.adv, found.best)}

  return _mapped(per_device, mesh, 3)


@_kept
def _square(logits: Logits, norm: Norm, effort: Effort, mesh: Any) -> Any:
  def per_device(
    variables: Any, rows: Any, key: jax.Array, eps: Any
  ) -> dict[str, jax.Array]:
    keys = pgd.image_keys(key, rows["index"])
    network = functools.partial(logits, variables)
    attack = Square(Ball(norm, eps), effort.queries)
    return {"adv": attack(network, rows["image"], rows["label"], keys).adv}

  return _mapped(per_device, mesh, 1)


def _cross_entropy(logits: Array, labels: Array) -> Array:
  """[n], in float64; of what is not a number it means nothing."""
  logits = np.nan_to_num(logits.astype(np.float64))
  logits -= logits.max(-1, keepdims=True)
  return np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(labels)), labels]


def _rounded(x: jax.Array, rounded: jax.Array) -> jax.Array:
  """The nearest bfloat16 where asked for, with the gradient of x itself."""
  change = jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7) - x
  return x + rounded * jax.lax.stop_gradient(change)
