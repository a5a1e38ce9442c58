"""The Square attack: random search by squares (Andriushchenko et al. 2020).

It asks for logits alone, no gradients, and so is not deceived by gradients that lie. In
L-infinity it starts from vertical stripes at the faces of the cube; a query moves a
square of all pixels to a face and keeps it if the margin falls.

Every image has squares of its own, from its own key; the official code draws one for a
batch, so that what it finds depends on the batch.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from robustjax.attacks import losses
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
  """The L-infinity Square attack with the constants of AutoAttack.

  Attributes:
    eps: the largest change of a pixel, of 255.
    queries: how many, at most, after the first.
    p: the share of pixels that the first squares change.
  """

  eps: float
  queries: int = 5000
  p: float = 0.8

  def side(self, query: jax.Array, height: int, width: int) -> jax.Array:
    """The side of the square of a query, which counts from 0, in pixels."""
    halvings = jnp.searchsorted(jnp.array(_HALVINGS), query, side="left")
    side = jnp.round(jnp.sqrt(self.p / 2.0**halvings * height * width))
    return jnp.clip(side.astype(jnp.int32), 1, min(height, width))

  def start(
    self, logits_fn: LogitsFn, images: jax.Array, labels: jax.Array, keys: jax.Array
  ) -> Search:
    """Vertical stripes, each of the three colours by itself at a face of the cube."""
    images = images.astype(jnp.float32)

    def stripes(key: jax.Array) -> jax.Array:
      own = jax.random.fold_in(key, 0)
      return jax.random.rademacher(own, (1, *images.shape[2:]), jnp.float32)

    adv = jnp.clip(images + self.eps * jax.vmap(stripes)(keys), 0.0, 255.0)
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
    height, width, channels = images.shape[1:]

    def square(key: jax.Array, query: jax.Array) -> jax.Array:
      """[h, w, c]: 2 eps up or down inside a square, a sign for each colour."""
      at, sign = jax.random.split(jax.random.fold_in(key, query + 1))
      side = self.side(query, height, width)
      room = jnp.array([height, width]) - side
      corner = jnp.floor(jax.random.uniform(at, (2,)) * room).astype(jnp.int32)
      rows, columns = jnp.arange(height) - corner[0], jnp.arange(width) - corner[1]
      inside = ((rows >= 0) & (rows < side))[:, None] & (
        (columns >= 0) & (columns < side)
      )
      signs = jax.random.rademacher(sign, (channels,), jnp.float32)
      return 2 * self.eps * inside[..., None] * signs

    def ask(carry: tuple[jax.Array, Search]) -> tuple[jax.Array, Search]:
      query, search = carry
      moved = search.adv + jax.vmap(square, (0, None))(keys, query)
      moved = jnp.clip(moved, images - self.eps, images + self.eps)
      moved = jnp.clip(moved, 0.0, 255.0)
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
