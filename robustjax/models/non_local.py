"""Non-local blocks: each position gets a mean over all positions (Xie et al. 2019).

"Feature denoising for improving adversarial robustness", section 4, as FD has it: its
ResNet-152 has four, Gaussian with embeddings, and its ResNeXt-101 one in every block,
dot products without embeddings.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

_EMBEDDING_INIT = nn.initializers.normal(0.01)  # FD


class NonLocal(nn.Module):
  """x + norm(conv(mean of x over all positions)); [n, h, w, c] to the same shape.

  Attributes:
    conv: a maker of convolutions, see `residual.conv`.
    norm: a maker of norm layers.
    embedded: whether the weights of the mean at a position are the softmax over all
      positions of the dot products, divided by sqrt(c / 2), of two embeddings to c / 2
      channels, theta at that position and phi at all. If not, they are the dot
      products of x itself, divided by h * w.
    precision: of the products.
  """

  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]
  embedded: bool
  precision: str | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    n, h, w, c = x.shape
    values = x.reshape(n, h * w, c)
    mean = self._gaussian(x, values) if self.embedded else self._dot_product(values)
    y = self.conv(c, 1, name="conv")(mean.reshape(x.shape))
    return x + self.norm(name="bn", scale_init=nn.initializers.zeros)(y)

  def _gaussian(self, x: jax.Array, values: jax.Array) -> jax.Array:
    n, positions, c = values.shape
    theta, phi = (
      self.conv(max(1, c // 2), 1, kernel_init=_EMBEDDING_INIT, name=name)(x).reshape(
        n, positions, -1
      )
      for name in ("theta", "phi")
    )
    products = self._product("npc,nqc->npq", theta, phi).astype(jnp.float32)
    weights = jax.nn.softmax(products / jnp.sqrt(jnp.float32(theta.shape[-1])))
    return self._product("npq,nqc->npc", weights.astype(values.dtype), values)

  def _dot_product(self, values: jax.Array) -> jax.Array:
    _, positions, c = values.shape
    # A product of three may begin at either end: with the smaller intermediate result.
    if c > positions:
      products = self._product("npc,nqc->npq", values, values) / positions
      return self._product("npq,nqc->npc", products, values)
    products = self._product("npc,npd->ncd", values, values) / positions
    return self._product("npc,ncd->npd", values, products)

  def _product(self, subscripts: str, *factors: jax.Array) -> jax.Array:
    return jnp.einsum(subscripts, *factors, precision=self.precision)
