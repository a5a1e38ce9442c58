"""The Square attack: random search by squares (Andriushchenko et al. 2020).

It asks for logits alone, no gradients, and so is not deceived by gradients that lie. In
L-infinity it starts from vertical stripes at the faces of the cube; a query moves a
square of all pixels to a face and keeps it if the margin falls. For L2 see `square_l2`.

Every image has squares of its own, from its own key; the official code draws one for a
batch, so that what it finds depends on the batch.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from robustjax.attacks import losses, square_l2
from robustjax.attacks.balls import Ball
from robustjax.attacks.pgd import LogitsFn

# Up to which query the share of changed pixels is p, p / 2, p / 4, ...
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


class Search(NamedTuple):
  """What the search has found, and where it goes on.

  Attributes:
    adv: [n, h, w, c], the best so far.
    margin: [n], its margin: below 0, it is misclassified.
    queries: [n] int32, how many were asked while it was not.
  """

  adv: jax.Array
  margin: jax.Array
  queries: jax.Array

  @property
  def broken(self) -> jax.Array:
    """[n] bool, whether the best is misclassified."""
    return self.margin <= 0


@dataclasses.dataclass(frozen=True)
class Square:
  """The Square attack with the constants of AutoAttack.

  Attributes:
    ball: where it stays; in L2 all that it asks for lies on the sphere, but for the cut
      to 0..255.
    queries: how many, at most, after the first.
    p: the share of pixels that the first squares change.
  """

  ball: Ball
  queries: int = 5000
  p: float = 0.8

  def side(self, query: jax.Array, height: int, width: int) -> jax.Array:
    """The side of the square of a query, which counts from 0, in pixels.

    In L2 it is odd and at least 3, unless the image is smaller.
    """
    halvings = jnp.searchsorted(jnp.array(_HALVINGS), query, side="left")
    side = jnp.round(jnp.sqrt(self.p / 2.0**halvings * height * width))
    side = side.astype(jnp.int32)
    if self.ball.norm == "l2":
      side = jnp.maximum(side, 3) // 2 * 2 + 1
    return jnp.clip(side, 1, min(height, width))

  def start(
    self, logits_fn: LogitsFn, images: jax.Array, labels: jax.Array, keys: jax.Array
  ) -> Search:
    """The first query: vertical stripes, each colour at a face; in L2 a grid."""
    images = images.astype(jnp.float32)

    def first(key: jax.Array) -> jax.Array:
      own = jax.random.fold_in(key, 0)
      if self.ball.norm == "l2":
        return square_l2.grid(own, images.shape[1:])
      return jax.random.rademacher(own, (1, *images.shape[2:]), jnp.float32)

    # What ascends along a change is the change itself, at length 1 in the ball's norm.
    change = self.ball.eps * self.ball.ascent(jax.vmap(first)(keys))
    adv = jnp.clip(images + change, 0.0, 255.0)
    margin = -losses.margin(logits_fn(adv), labels)
    return Search(adv, margin, jnp.ones(len(images), jnp.int32))

  def advance(
    self,
    logits_fn: LogitsFn,
    images: jax.Array,
    labels: jax.Array,
    keys: jax.Array,
    search: Search,
    first: int | jax.Array,
    queries: int | jax.Array,
  ) -> Search:
    """Asks for some queries more, from the `first`-th on; both may be traced.

    Advancing by a and then by b queries is the same as by a + b. An image that is
    misclassified stays as it is; the loop ends early where all are.
    """
    images = images.astype(jnp.float32)

    def ask(carry: tuple[jax.Array, Search]) -> tuple[jax.Array, Search]:
      query, search = carry
      moved = self._propose(images, keys, search.adv, query)
      margin = -losses.margin(logits_fn(moved), labels)
      better = ~search.broken & (margin < search.margin)
      adv = jnp.where(better[:, None, None, None], moved, search.adv)
      return query + 1, Search(
        adv,
        jnp.where(better, margin, search.margin),
        search.queries + ~search.broken,
      )

    def unfinished(carry: tuple[jax.Array, Search]) -> jax.Array:
      query, search = carry
      return (query < first + queries) & ~search.broken.all()

    return jax.lax.while_loop(unfinished, ask, (jnp.asarray(first), search))[1]

  def __call__(
    self, logits_fn: LogitsFn, images: jax.Array, labels: jax.Array, keys: jax.Array
  ) -> Search:
    """Attacks a batch: all queries.

    Args:
      logits_fn: images [n, h, w, c] in 0..255 to logits [n, k], each image by itself.
      images: [n, h, w, c], pixels in 0..255.
      labels: [n], the true classes.
      keys: [n], a PRNG key for each image.
    """
    search = self.start(logits_fn, images, labels, keys)
    return self.advance(logits_fn, images, labels, keys, search, 0, self.queries)

  def _propose(
    self, images: jax.Array, keys: jax.Array, adv: jax.Array, query: jax.Array
  ) -> jax.Array:
    """[n, h, w, c]: what a query asks for, from the best so far."""
    height, width, channels = images.shape[1:]
    side = self.side(query, height, width)
    keys = jax.vmap(jax.random.fold_in, (0, None))(keys, query + 1)
    if self.ball.norm == "l2":
      mixed = jax.vmap(square_l2.exchange, (0, 0, None, None))(
        keys, adv - images, side, self.ball.eps
      )
      moved = images + self.ball.eps * self.ball.ascent(mixed)
      return jnp.clip(moved, 0.0, 255.0)

    def square(key: jax.Array) -> jax.Array:
      """[h, w, c]: 2 eps up or down inside a square, a sign for each colour."""
      at, sign = jax.random.split(key)
      room = jnp.array([height, width]) - side
      corner = jnp.floor(jax.random.uniform(at, (2,)) * room).astype(jnp.int32)
      rows, columns = jnp.arange(height) - corner[0], jnp.arange(width) - corner[1]
      inside = ((rows >= 0) & (rows < side))[:, None] & (
        (columns >= 0) & (columns < side)
      )
      signs = jax.random.rademacher(sign, (channels,), jnp.float32)
      return 2 * self.ball.eps * inside[..., None] * signs

    return self.ball.project(adv + jax.vmap(square)(keys), images)
