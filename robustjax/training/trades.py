"""The loss of TRADES. Not in the paper: Zhang et al. 2019 (arXiv:1901.08573)."""

import jax
import jax.numpy as jnp

from robustjax.attacks.kl import divergence
from robustjax.training import losses


def loss(
  clean: jax.Array,
  adv: jax.Array,
  labels: jax.Array,
  *,
  beta: float,
  label_smoothing: float,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Cross-entropy of clean images, and how far adversarial logits are from theirs.

  Args:
    clean: [groups, m, k], logits of clean images.
    adv: [groups, n, k], logits of adversarial ones; the first m of a group are those
      of its clean images, and the others play no part.
    labels: [groups, n], the classes of the adversarial images.
    beta: the weight of the second part, 1 / lambda in their equation 5; 6 in theirs.
    label_smoothing: of the cross-entropy; 0 in theirs.

  Returns:
    The loss, a scalar: cross-entropy + beta KL(clean || adv), each a mean over the
    clean images; and {"kl": the second without its weight}. The gradient flows through
    both sides of the divergence, as in their code.
  """
  pairs, classes = clean.shape[1], clean.shape[-1]
  natural = losses.cross_entropy(
    clean.reshape(-1, classes), labels[:, :pairs].reshape(-1), label_smoothing
  )
  kl = jnp.mean(divergence(clean, adv[:, :pairs]))
  return jnp.mean(natural) + beta * kl, {"kl": kl}
