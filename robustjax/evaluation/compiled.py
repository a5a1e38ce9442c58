"""The compiled programs of an evaluation: one an attack, one that reads, one more."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from robustjax.attacks import losses
from robustjax.attacks.balls import Ball
from robustjax.attacks.pgd import LogitsFn
from robustjax.errors import UserError
from robustjax.evaluation.network import Network
from robustjax.evaluation.suite import Attack, Found, check, nothing
from robustjax.runtime import parallel


class Reading(NamedTuple):
  """What a network says of the images found; arrays are of [n] and on all devices.

  Attributes:
    label: int32, the true class.
    mask: bool, whether it is an image, and not there to fill the batch.
    prediction: int32, the class.
    margin: float32, the true class's logit minus the largest other.
    finite: bool, whether all logits are numbers.
    allowed: bool, whether the image is within the ball and within 0..255.
    steps: int32, as found.
    target: int32, as found.
  """

  label: jax.Array
  mask: jax.Array
  prediction: jax.Array
  margin: jax.Array
  finite: jax.Array
  allowed: jax.Array
  steps: jax.Array
  target: jax.Array


def read(
  logits_fn: LogitsFn,
  ball: Ball,
  batch: Mapping[str, jax.Array],
  found: Found,
  axis: str | None = None,
) -> Reading:
  """Reads a device's batch of found images; results are gathered over `axis`."""
  logits = logits_fn(found.adv).astype(jnp.float32)
  change = found.adv - batch["image"].astype(jnp.float32)
  # To rounding: an L2 ball's points are scaled onto its face.
  within = ball.size(change)[:, 0, 0, 0] <= ball.eps * (1 + 1e-5) + 1e-4
  in_range = ((found.adv >= 0) & (found.adv <= 255)).all((1, 2, 3))
  reading = Reading(
    label=batch["label"],
    mask=batch["mask"],
    prediction=logits.argmax(-1).astype(jnp.int32),
    margin=-losses.margin(logits, batch["label"]),
    finite=jnp.isfinite(logits).all(-1),
    allowed=within & in_range,
    steps=found.steps,
    target=found.target,
  )
  if axis is None:
    return reading
  return jax.tree.map(lambda x: jax.lax.all_gather(x, axis, tiled=True), reading)


@dataclasses.dataclass(frozen=True)
class Programs:
  """The compiled programs of an evaluation, one an attack and one that reads.

  Attributes:
    attacks: in their order.
    begin: batch -> Found, `nothing`.
    read: (variables, batch, found) -> Reading.
    attack: name -> (variables, batch, seed, run, part, found) -> Found.
    classes: how many the network tells apart.
  """

  attacks: tuple[Attack, ...]
  begin: Callable[..., Found]
  read: Callable[..., Reading]
  attack: Mapping[str, Callable[..., Found]]
  classes: int


def programs(
  network: Network, attacks: tuple[Attack, ...], shape: tuple[int, ...], mesh: Any
) -> Programs:
  """The programs that attack a network, and all networks of the same shapes.

  Args:
    network: whose functions they are made of.
    attacks: at least one, all in one ball.
    shape: of an image, [h, w, c].
    mesh: the devices.

  Raises:
    UserError: the network has too few classes for an attack, or no logits [n, k].
  """
  abstract = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
  logits = jax.eval_shape(network.logits, network.variables, abstract)
  if len(logits.shape) != 2 or logits.shape[0] != 2:
    raise UserError(
      f"{network.name} makes {list(logits.shape)} of images {[2, *shape]}: it must"
      " return a function to logits [n, classes]"
    )
  check(attacks, logits.shape[1])
  same, split = None, 0

  def attacking(attack: Attack) -> Callable[..., Found]:
    def function(variables: Any, *arguments: Any) -> Found:
      return attack(lambda x: network.attack_logits(variables, x), *arguments)

    return parallel.pmap(function, mesh, (same, split, same, same, same, split), split)

  def reading(variables: Any, batch: Any, found: Found) -> Reading:
    logits_fn = lambda x: network.logits(variables, x)  # noqa: E731
    return read(logits_fn, attacks[0].ball, batch, found, parallel.AXIS)

  return Programs(
    attacks,
    parallel.pmap(nothing, mesh, (split,), split),
    parallel.pmap(reading, mesh, (same, split, split), same),
    {attack.name: attacking(attack) for attack in attacks},
    logits.shape[1],
  )
