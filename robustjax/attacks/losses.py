"""What an attack raises: losses of the logits, one number an image.

The larger, the nearer the image is to being misclassified. All take logits [n, k] of at
least 4 classes (the difference of logits ratios name the third largest), and return
[n] in float32.
"""

import jax
import jax.numpy as jnp
import optax

TINY = 1e-12  # of the official code: keeps a ratio of equal logits finite


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """The cross-entropy to the true class."""
  logits = logits.astype(jnp.float32)
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def targeted_cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
  """Minus the cross-entropy to the target."""
  return -cross_entropy(logits, targets)


def margin(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """The largest other logit minus the true class's: above 0, it is misclassified."""
  logits = logits.astype(jnp.float32)
  own = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
  return jnp.where(own, -jnp.inf, logits).max(-1) - at(logits, labels)


def targeted_margin(
  logits: jax.Array, labels: jax.Array, targets: jax.Array
) -> jax.Array:
  """The target's logit minus the true class's (Gowal et al. 2019)."""
  logits = logits.astype(jnp.float32)
  return at(logits, targets) - at(logits, labels)


def dlr(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """The difference of logits ratio (Croce & Hein 2020, equation 6).

  The margin over the distance between the largest and the third largest logit: it does
  not change if the logits are shifted or scaled.
  """
  logits = logits.astype(jnp.float32)
  first, _, third, _ = _largest(logits)
  return margin(logits, labels) / (first - third + TINY)


def targeted_dlr(logits: jax.Array, labels: jax.Array, targets: jax.Array) -> jax.Array:
  """The targeted difference of logits ratio (Croce & Hein 2020, equation 7)."""
  logits = logits.astype(jnp.float32)
  first, _, third, fourth = _largest(logits)
  distance = targeted_margin(logits, labels, targets)
  return distance / (first - 0.5 * (third + fourth) + TINY)


def at(logits: jax.Array, classes: jax.Array) -> jax.Array:
  """The logit of one class of each image: [n, k] and [n] to [n]."""
  return jnp.take_along_axis(logits, classes[:, None], -1)[:, 0]


def _largest(logits: jax.Array) -> jax.Array:
  """[4, n]: the four largest logits, descending."""
  return jax.lax.top_k(logits, 4)[0].T
