"""The attack of TRADES: away from what the network says of the clean image.

Not in the paper. Zhang et al. 2019 (arXiv:1901.08573, algorithm 1), with the constants
of their code (github.com/yaodongyu/TRADES).
"""

import jax
import jax.numpy as jnp

from robustjax.attacks.pgd import LogitsFn, project

NOISE = 0.001 * 255  # the standard deviation of the start, in their code


def attack(
  logits_fn: LogitsFn,
  clean_logits_fn: LogitsFn,
  images: jax.Array,
  keys: jax.Array,
  *,
  eps: float,
  step_size: float,
  steps: int,
) -> jax.Array:
  """Adversarial images that maximise the KL divergence from clean to adversarial.

  Args:
    logits_fn: images [n, h, w, c] in 0..255 to logits [n, k]; each image's logits must
      depend on that image alone.
    clean_logits_fn: the same, through the branch of clean images where there are two.
    images: [n, h, w, c], pixels in 0..255.
    keys: [n], a PRNG key for each image.
    eps: the largest change of a pixel, of 255.
    step_size: how far a pixel moves in one step, of 255.
    steps: how many steps.

  Returns:
    [n, h, w, c] float32, within eps of `images` and within 0..255. No gradient flows
    through it.
  """
  images = images.astype(jnp.float32)
  clean = jax.lax.stop_gradient(clean_logits_fn(images))

  def start(image: jax.Array, key: jax.Array) -> jax.Array:
    noise = jax.random.normal(jax.random.fold_in(key, 1), image.shape)
    return project(image + NOISE * noise, image, eps)

  def loss(x: jax.Array) -> jax.Array:
    return divergence(clean, logits_fn(x)).sum()

  def step(_: jax.Array, x: jax.Array) -> jax.Array:
    return project(x + step_size * jnp.sign(jax.grad(loss)(x)), images, eps)

  begun = jax.vmap(start)(images, keys)
  return jax.lax.stop_gradient(jax.lax.fori_loop(0, steps, step, begun))


def divergence(clean: jax.Array, adv: jax.Array) -> jax.Array:
  """KL(p || q) of what logits say of clean images, p, and of adversarial ones, q.

  Args:
    clean: [..., k], logits.
    adv: [..., k], logits.

  Returns:
    [...], in nats.
  """
  log_p = jax.nn.log_softmax(clean.astype(jnp.float32))
  log_q = jax.nn.log_softmax(adv.astype(jnp.float32))
  return jnp.sum(jnp.exp(log_p) * (log_p - log_q), -1)
