"""Attacks by name, each one program, and AutoAttack's `standard` suite of them.

A program attacks a full batch of each device: targets, restarts and queries are numbers
that it is given, so that however many there are, it is compiled once. Nothing that an
image meets depends on another one: its randomness follows from its index.
"""

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from robustjax.attacks import apgd, ascent, fab, losses, pgd, square
from robustjax.attacks.balls import Ball
from robustjax.attacks.pgd import LogitsFn
from robustjax.errors import UserError
from robustjax.runtime import settings

STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
NAMES = ("apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square", "pgd", "pgd-t")
LOSSES = ("ce", "dlr", "margin")

_PART = 500  # queries of Square between two looks at whether to stop


class Found(NamedTuple):
  """The most dangerous images that an attack has found; arrays are of [n, ...].

  Attributes:
    adv: [n, h, w, c].
    steps: int32, how many steps or queries this run had made when it found it.
    target: int32, the class that this run pushed to; -1 if none.
    margin: of Square: how far it is from being broken.
  """

  adv: jax.Array
  steps: jax.Array
  target: jax.Array
  margin: jax.Array


def nothing(batch: Mapping[str, jax.Array]) -> Found:
  """What is found before the first part: the images themselves."""
  images, count = batch["image"].astype(jnp.float32), len(batch["image"])
  zeros = jnp.zeros(count, jnp.int32)
  return Found(images, zeros, zeros - 1, jnp.zeros(count, jnp.float32))


@dataclasses.dataclass(frozen=True)
class Options:
  """What may be changed of the attacks; the defaults are AutoAttack's.

  Attributes:
    steps: of gradient attacks and FAB, a run.
    restarts: of gradient attacks, from other random points.
    queries: of Square.
    targets: of targeted attacks, the classes of the largest other clean logits.
    step_size: of PGD, of 255; None is 2.5 eps / steps (Madry et al. 2018).
    loss: of PGD: one of LOSSES; None is the cross-entropy, or to a target the margin.
    last: whether PGD gives its last iterate instead of its best.
  """

  steps: int = 100
  restarts: int = 1
  queries: int = 5000
  targets: int = 9
  step_size: float | None = None
  loss: str | None = None
  last: bool = False


@dataclasses.dataclass(frozen=True)
class Attack:
  """An attack with its constants.

  Attributes:
    name: one of `NAMES`.
    ball: what it searches.
    options: its constants.
    transfer: whether what it finds is read through another network than it attacks:
      then it never stops at a success.
  """

  name: str
  ball: Ball
  options: Options = Options()
  transfer: bool = False

  @property
  def targeted(self) -> bool:
    """Whether a run has a target class."""
    return self.name.endswith("-t")

  def runs(self, classes: int) -> int:
    """How often it attacks what is left: restarts, with each of its targets."""
    restarts = 1 if self.name in ("fab-t", "square") else self.options.restarts
    return restarts * (self._targets(classes) if self.targeted else 1)

  @property
  def cost(self) -> int:
    """Steps or queries of a run."""
    return self.options.queries if self.name == "square" else self.options.steps

  @property
  def parts(self) -> int:
    """How many calls a run is made of."""
    return -(-self.options.queries // _PART) if self.name == "square" else 1

  def __call__(
    self,
    logits_fn: LogitsFn,
    batch: Mapping[str, jax.Array],
    seed: jax.Array,
    run: jax.Array,
    part: jax.Array,
    found: Found,
  ) -> Found:
    """A part of a run against a device's batch.

    Args:
      logits_fn: images [n, h, w, c] in 0..255 to logits [n, k].
      batch: "image", "label", "index" and "mask" [n].
      seed: uint32, of the evaluation.
      run: int32, 0..runs - 1, target after target.
      part: int32, 0..parts - 1.
      found: by the parts before; `nothing` before the first.
    """
    images = batch["image"].astype(jnp.float32)
    # What only fills the batch up is broken from the start, and no search waits for it.
    labels = jnp.where(batch["mask"], batch["label"], -1)
    key = settings.key(seed)
    for number in (zlib.crc32(self.name.encode()), run):
      key = jax.random.fold_in(key, number)
    keys = pgd.image_keys(key, batch["index"])
    if self.name == "square":
      return self._square(logits_fn, images, labels, keys, part, found)
    targets = None
    if self.targeted:
      targets = self._target(logits_fn(images), labels, run)
    if self.name == "fab-t":
      assert targets is not None
      stop = None if self.transfer else self.ball.eps
      search = fab.FAB(self.options.steps, within=stop)
      near = search(logits_fn, images, labels, targets)
      return self._found(near.adv, near.steps, targets)
    start = self.ball.on_face(images, keys)
    loss_fn = self._loss(labels, targets)
    result = self._search()(logits_fn, loss_fn, images, labels, start)
    adv = result.best
    if self.options.last and self.name.startswith("pgd"):
      adv = result.last
    elif not self.transfer:
      adv = jnp.where(result.broken[:, None, None, None], result.adv, adv)
    return self._found(adv, result.steps, targets)

  def _search(self) -> "apgd.APGD | ascent.Ascent":
    options = self.options
    until_broken = not (self.transfer or options.last)
    if self.name.startswith("apgd"):
      return apgd.APGD(self.ball, options.steps, until_broken=until_broken)
    size = options.step_size or 2.5 * self.ball.eps / options.steps
    return ascent.Ascent(self.ball, size, options.steps, until_broken)

  def _loss(
    self, labels: jax.Array, targets: jax.Array | None
  ) -> Callable[[jax.Array], jax.Array]:
    """What the search raises."""
    by_name = {"apgd-ce": "ce", "apgd-dlr": "dlr", "apgd-t": "dlr"}
    loss = by_name.get(self.name) or self.options.loss
    if targets is None:
      untargeted = {
        "ce": losses.cross_entropy,
        "dlr": losses.dlr,
        "margin": losses.margin,
      }
      return lambda logits: untargeted[loss or "ce"](logits, labels)
    if loss == "ce":
      return lambda logits: losses.targeted_cross_entropy(logits, targets)
    if loss == "dlr":
      return lambda logits: losses.targeted_dlr(logits, labels, targets)
    return lambda logits: losses.targeted_margin(logits, labels, targets)

  def _square(
    self,
    logits_fn: LogitsFn,
    images: jax.Array,
    labels: jax.Array,
    keys: jax.Array,
    part: jax.Array,
    found: Found,
  ) -> Found:
    attack = square.Square(self.ball, self.options.queries)
    search = jax.lax.cond(
      part == 0,
      lambda: attack.start(logits_fn, images, labels, keys),
      lambda: square.Search(found.adv, found.margin, found.steps),
    )
    first = part * _PART
    count = jnp.minimum(_PART, self.options.queries - first)
    search = attack.advance(logits_fn, images, labels, keys, search, first, count)
    new = self._found(search.adv, search.queries, None)
    return new._replace(margin=search.margin)

  def _targets(self, classes: int) -> int:
    return min(self.options.targets, classes - 1)

  def _target(self, logits: jax.Array, labels: jax.Array, run: jax.Array) -> jax.Array:
    """[n]: the class whose clean logit is the largest of the others, the second, ..."""
    targets = self._targets(logits.shape[-1])
    own = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    others = jnp.where(own, -jnp.inf, logits.astype(jnp.float32))
    return jax.lax.top_k(others, targets)[1][:, run % targets]

  def _found(
    self,
    adv: jax.Array,
    steps: jax.Array,
    targets: jax.Array | None,
  ) -> Found:
    targets = jnp.full_like(steps, -1) if targets is None else targets
    # Of exact types: a weakly typed number would be another program for the reading.
    steps, targets = steps.astype(jnp.int32), targets.astype(jnp.int32)
    return Found(adv, steps, targets, jnp.zeros(len(steps), jnp.float32))


def check(attacks: tuple[Attack, ...], classes: int) -> None:
  """Refuses attacks that want more classes than there are.

  A ratio of logits names the third largest, and that to a target the fourth.

  Raises:
    UserError: one line with attacks that do not.
  """
  for attack in attacks:
    least = {"apgd-dlr": 3, "apgd-t": 4}.get(attack.name, 2)
    if attack.name.startswith("pgd") and attack.options.loss == "dlr":
      least = 4 if attack.targeted else 3
    if classes < least:
      raise UserError(
        f"{attack.name} wants a network of {least} classes or more, and this one has"
        f" {classes}: name other attacks, such as apgd-ce,square"
      )


def named(
  names: str, ball: Ball, options: Options = Options(), transfer: bool = False
) -> tuple[Attack, ...]:
  """The attacks of a list of names, such as "standard" or "apgd-ce,square".

  Raises:
    UserError: there is none of a name, one is named twice, or it does not search such
      a ball.
  """
  wanted = [name.strip() for name in names.split(",")]
  if wanted == ["standard"]:
    if options != Options():
      raise UserError(
        "standard is AutoAttack with its constants: to change them, name its attacks,"
        f" {','.join(STANDARD)}"
      )
    wanted = list(STANDARD)
  for name in wanted:
    if name not in NAMES:
      raise UserError(
        f"there is no attack {name!r}: name standard alone, or some of"
        f" {', '.join(NAMES)}"
      )
    if wanted.count(name) > 1:
      raise UserError(f"the attack {name} is named twice: name it once")
    if name == "fab-t" and ball.norm != "linf":
      raise UserError("fab-t is for L-infinity: against L2 use apgd-ce,apgd-t,square")
  return tuple(Attack(name, ball, options, transfer) for name in wanted)
