"""Networks for the audit's tests: honest ones, and ones with one known fault each."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from robustjax.audit.programs import Effort
from robustjax.evaluation.network import Network

CLASSES, SIDE, EPS = 5, 6, 16.0
EFFORT = Effort(steps=10, most=40, apgd=20, queries=100, batch_size=48)


def blobs(count, seed=0):
  """Images [n, 6, 6, 3] in 0..255 around five patterns, some nearer to others'."""
  noise = np.random.default_rng(0)
  patterns = noise.normal(size=(CLASSES, SIDE, SIDE, 3))
  rng = np.random.default_rng(seed + 1)
  labels = rng.integers(CLASSES, size=count)
  strength = rng.uniform(8, 60, (count, 1, 1, 1))
  images = (
    127 + strength * patterns[labels] + 25 * rng.normal(size=(count, SIDE, SIDE, 3))
  )
  return np.clip(np.rint(images), 0, 255).astype(np.uint8), labels.astype(np.int32)


def mlp(variables, images):
  """Logits of a network with one hidden layer."""
  x = images.astype(jnp.float32).reshape(len(images), -1) / 127.5 - 1.0
  hidden = jax.nn.relu(x @ variables["in"] + variables["bias"])
  return hidden @ variables["out"]


def attacked(variables, images, labels, eps, steps):
  """PGD on the cross-entropy from the images; with one step, FGSM."""

  def loss(x):
    return optax.softmax_cross_entropy_with_integer_labels(
      mlp(variables, x), labels
    ).sum()

  def step(_, x):
    x = x + (eps if steps == 1 else 2.5 * eps / steps) * jnp.sign(jax.grad(loss)(x))
    return jnp.clip(x, jnp.maximum(images - eps, 0), jnp.minimum(images + eps, 255))

  return jax.lax.fori_loop(0, steps, step, images) if steps else images


@functools.cache
def trained(steps=0, updates=300, eps=EPS, width=64):
  """The variables of `mlp`, trained on images attacked with so many steps."""
  images, labels = blobs(1024, seed=7)
  images = jnp.asarray(images, jnp.float32)
  rng = np.random.default_rng(1)
  size = SIDE * SIDE * 3
  variables = {
    "in": jnp.asarray(rng.normal(size=(size, width)) / size**0.5, jnp.float32),
    "bias": jnp.zeros(width),
    "out": jnp.asarray(rng.normal(size=(width, CLASSES)) / width**0.5, jnp.float32),
  }
  optimizer = optax.adam(3e-3)

  def update(_, state):
    variables, moments = state
    adv = attacked(variables, images, labels, eps, steps)

    def loss(variables):
      return optax.softmax_cross_entropy_with_integer_labels(
        mlp(variables, adv), labels
      ).mean()

    change, moments = optimizer.update(jax.grad(loss)(variables), moments)
    return optax.apply_updates(variables, change), moments

  start = (variables, optimizer.init(variables))
  return jax.jit(lambda s: jax.lax.fori_loop(0, updates, update, s))(start)[0]


def network(logits, variables, name="made"):
  """One whose gradients come from what its predictions come from."""
  return Network(name, "all", variables, logits, logits)
