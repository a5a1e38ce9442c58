"""Networks for the audit's tests: honest ones, and ones with one known fault each."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from robustjax.audit import audit
from robustjax.audit.programs import Effort
from robustjax.evaluation.network import Network
from robustjax.runtime import parallel

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


def linear(variables, images):
  """Logits of a network with no hidden layer."""
  return (images.astype(jnp.float32).reshape(len(images), -1) / 127.5 - 1.0) @ variables


@functools.cache
def least_squares():
  """The variables of `linear` that come nearest to 0.8 of the class, -0.2 elsewhere."""
  images, labels = blobs(1024, seed=7)
  x = images.reshape(len(images), -1) / 127.5 - 1.0
  wanted = x.T @ (np.eye(CLASSES)[labels] - 1 / CLASSES)
  return np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), wanted).astype(np.float32)


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


def gradient(change):
  """The images themselves, with another gradient: (images, gradient) to it."""

  @jax.custom_vjp
  def same(images):
    return images

  same.defvjp(lambda x: (x, x), lambda x, g: (change(x, g),))
  return same


# Faults in front of the network, images to images, and behind it, logits to logits.
FRONT = {
  "quantised": lambda x: jnp.round(x / 32) * 32,
  "thresholded": lambda x: jnp.where(x > 127, 159.0, 95.0),
  "steep": lambda x: 255 * jax.nn.sigmoid(1000 * (x / 255 - 0.5)),
  "waves": lambda x: x + 5 * jnp.sin(3 * x),
  "gradient of half": lambda x: x.at[:, ::2].set(jax.lax.stop_gradient(x[:, ::2])),
  "gradient zero": gradient(lambda x, g: jnp.zeros_like(g)),
  "gradient negated": gradient(lambda x, g: -g),
  "gradient noise": gradient(lambda x, g: jnp.sin(1e4 * x * (1 + jnp.arange(3)))),
  "gradient not a number": gradient(lambda x, g: g * jnp.nan),
}
BACK = {
  "scaled": lambda z: 1000 * z,
  "temperature": lambda z: z / 0.01,
  "shifted": lambda z: 1e6 + z,
  "saturated": lambda z: jnp.tanh(30 * z),
  "clipped": lambda z: jnp.clip(z, -1, 1),
  "rounded": lambda z: jnp.round(4 * z) / 4,
  "softmax": jax.nn.softmax,
  "one hot": lambda z: jax.nn.one_hot(z.argmax(-1), CLASSES),
  "not a number": lambda z: z * jnp.nan,
  "divided by its largest": lambda z: z / jnp.abs(z).max(-1, keepdims=True),
  # Honest:
  "centred": lambda z: z - z.max(-1, keepdims=True),
  "log softmax": jax.nn.log_softmax,
}


def one_of_all(variables, images):
  """`mlp` with one of the faults: one program for all of them."""
  x = jax.lax.switch(variables["front"], [lambda x: x, *FRONT.values()], images)
  logits = mlp(variables["net"], x)
  return jax.lax.switch(variables["back"], [lambda z: z, *BACK.values()], logits)


def faulty(fault="", steps=0):
  """A trained network with a fault, or an honest one."""
  front, back = ([None, *faults] for faults in (FRONT, BACK))
  variables = {
    "net": trained(steps),
    "front": jnp.int32(front.index(fault) if fault in front else 0),
    "back": jnp.int32(back.index(fault) if fault in back else 0),
  }
  assert not fault or fault in front or fault in back
  return network(one_of_all, variables, fault or "honest")


def audited(net, others=(), eps=EPS, data=None, **values):
  """An audit with little effort, on two devices, of blobs or (images, labels)."""
  images, labels = data or blobs(96)
  mesh = parallel.mesh(jax.devices()[:2])
  return audit.audit(
    net, others, images, labels, 1000 + np.arange(len(labels)),
    eps=eps, effort=EFFORT, mesh=mesh, **values,
  )  # fmt: skip


def failed(result):
  """Name -> verdict of the checks that failed."""
  bad = ("masked", "suspicious")
  return {c["name"]: c["verdict"] for c in result["checks"] if c["verdict"] in bad}
