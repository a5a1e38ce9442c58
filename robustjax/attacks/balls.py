"""The balls that attacks stay in: L-infinity and L2, around an image, within 0..255."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

_TINY = 1e-12 * 255  # of the official code, in pixels


@dataclasses.dataclass(frozen=True)
class Ball:
  """All images within eps of one.

  Attributes:
    norm: "linf", the largest change of a pixel's channel, or "l2", the root of the sum
      of all squared changes.
    eps: its radius, of 255.
  """

  norm: Literal["linf", "l2"]
  eps: float

  def size(self, change: jax.Array) -> jax.Array:
    """The norm of each image's change [n, h, w, c]: [n, 1, 1, 1]."""
    if self.norm == "linf":
      return jnp.abs(change).max((1, 2, 3), keepdims=True)
    return jnp.sqrt(jnp.square(change).sum((1, 2, 3), keepdims=True))

  def project(self, adv: jax.Array, images: jax.Array) -> jax.Array:
    """The nearest point of the ball for L-infinity; for L2, along the ray to it.

    An L2 ball is cut to 0..255 after the projection, as the official code does.
    """
    if self.norm == "linf":
      low, high = images - self.eps, images + self.eps
      return jnp.clip(adv, jnp.maximum(low, 0.0), jnp.minimum(high, 255.0))
    change = adv - images
    size = self.size(change)
    within = change / (size + _TINY) * jnp.minimum(self.eps, size)
    return jnp.clip(images + within, 0.0, 255.0)

  def ascent(self, gradient: jax.Array) -> jax.Array:
    """The direction of a step of length 1 that raises the loss most."""
    if self.norm == "linf":
      return jnp.sign(gradient)
    return gradient / (self.size(gradient) + _TINY)

  def on_face(self, images: jax.Array, keys: jax.Array) -> jax.Array:
    """A random image at distance eps, but for the cut to 0..255.

    Uniform noise scaled to the face of the cube, or normal noise scaled to the sphere.
    """

    def draw(key: jax.Array) -> jax.Array:
      if self.norm == "linf":
        return jax.random.uniform(key, images.shape[1:], minval=-1.0)
      return jax.random.normal(key, images.shape[1:])

    noise = jax.vmap(draw)(keys)
    return jnp.clip(images + self.eps * noise / self.size(noise), 0.0, 255.0)
