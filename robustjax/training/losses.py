"""The losses of the paper's strategies: equation 1 at any clean ratio, and ALP."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float) -> jax.Array:
  """Cross-entropy of each image with label smoothing in the eps/K form (FD).

  Args:
    logits: [n, k].
    labels: [n], the true classes.
    smoothing: in 0..1; the true class gets 1 - smoothing + smoothing / k.

  Returns:
    [n], in nats.
  """
  classes = logits.shape[-1]
  soft = optax.smooth_labels(jax.nn.one_hot(labels, classes), smoothing)
  return optax.softmax_cross_entropy(logits.astype(jnp.float32), soft)


def mixture(losses: Mapping[str, jax.Array]) -> jax.Array:
  """The mean loss over all images of a mixture.

  With as many clean images as adversarial ones this is equation 1 of the paper with
  alpha = 0.5; with r clean images for each adversarial one, the adversarial ones
  weigh 1 / (1 + r).

  Args:
    losses: domain -> [n_domain], the loss of each image.

  Returns:
    A scalar.
  """
  return jnp.mean(jnp.concatenate(list(losses.values())))


def logit_pairing(adv: jax.Array, clean: jax.Array) -> jax.Array:
  """Adversarial logit pairing: how far the logits of a pair are from each other.

  Args:
    adv: [n, k], logits of adversarial images.
    clean: [n, k], logits of their clean counterparts.

  Returns:
    The squared L2 distance, averaged over the pairs: a scalar. Kannan et al. 2018
    (arXiv:1803.06373); the paper gives neither the distance nor the weight.
  """
  return jnp.mean(jnp.sum(jnp.square(adv - clean), -1))
