"""The targeted PGD attack in the L-infinity ball (paper section 3; Madry et al. 2018).

An attack is start, step, project over a logits function: it knows no model and no
configuration. All randomness is by image: the key of an image decides its target and
its start, whatever batch and device it is computed in. Pixels are in 0..255 and so
are eps and step_size ("maximum perturbation of each pixel eps = 16").
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

LogitsFn = Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class PGD:
  """Projected gradient descent on the cross-entropy to a target class.

  Attributes:
    eps: the largest change of a pixel, of 255.
    step_size: how far a pixel moves in one step, of 255.
    steps: how many steps.
    clean_start: the probability of starting from the clean image instead of a
      uniform point of the eps cube: 0.2 in training, 0 in evaluation (paper
      section 3). Decided for each image; FD tosses one coin for a GPU's batch.

  Examples:
    >>> attack = PGD(eps=16.0, step_size=1.0, steps=30, clean_start=0.2)
    >>> images = jnp.full((2, 4, 4, 3), 128.0)
    >>> flat = lambda x: x.reshape(2, -1)[:, :10]
    >>> keys = jax.random.split(jax.random.key(0), 2)
    >>> adv = attack(flat, images, jnp.array([3, 7]), keys)
    >>> bool(jnp.max(jnp.abs(adv - images)) <= 16)
    True
  """

  eps: float
  step_size: float
  steps: int
  clean_start: float = 0.0

  def __call__(
    self, logits_fn: LogitsFn, images: jax.Array, targets: jax.Array, keys: jax.Array
  ) -> jax.Array:
    """Adversarial images: `start`, then all the steps.

    Args:
      logits_fn: images [n, h, w, c] in 0..255 to logits [n, k]; each image's logits
        must depend on that image alone (running statistics, or a batchless norm).
      images: [n, h, w, c], float, pixels in 0..255.
      targets: [n], the class that each image is pushed to.
      keys: [n], a PRNG key for each image.

    Returns:
      [n, h, w, c] float32, within eps of `images` and within 0..255. No gradient
      flows through it.
    """
    adv = self.start(images, keys)
    return self.advance(logits_fn, images, adv, targets, self.steps)

  def start(self, images: jax.Array, keys: jax.Array) -> jax.Array:
    """The first iterate: [n, h, w, c], clipped to 0..255 so that it is an image."""

    def one(image: jax.Array, key: jax.Array) -> jax.Array:
      coin, noise = jax.random.split(jax.random.fold_in(key, 1))
      jitter = jax.random.uniform(noise, image.shape, minval=-self.eps, maxval=self.eps)
      from_clean = jax.random.uniform(coin) < self.clean_start
      return jnp.where(from_clean, image, project(image + jitter, image, self.eps))

    return jax.vmap(one)(images.astype(jnp.float32), keys)

  def advance(
    self,
    logits_fn: LogitsFn,
    images: jax.Array,
    adv: jax.Array,
    targets: jax.Array,
    steps: int | jax.Array,
  ) -> jax.Array:
    """Goes on from an iterate by `steps` steps, which may be a traced number.

    Advancing by a and then by b steps is the same as by a + b: the readings of a
    trajectory are made of this.
    """
    images = images.astype(jnp.float32)

    def loss(x: jax.Array) -> jax.Array:
      logits = logits_fn(x).astype(jnp.float32)
      # Plain cross-entropy: the attack is not smoothed though training is (FD).
      return optax.softmax_cross_entropy_with_integer_labels(logits, targets).sum()

    def step(_: jax.Array, x: jax.Array) -> jax.Array:
      x = x - self.step_size * jnp.sign(jax.grad(loss)(x))
      return project(x, images, self.eps)

    return jax.lax.stop_gradient(jax.lax.fori_loop(0, steps, step, adv))


def project(adv: jax.Array, images: jax.Array, eps: float) -> jax.Array:
  """The nearest point of the eps cube around `images` that is an image (0..255)."""
  low = jnp.maximum(images - eps, 0.0)
  high = jnp.minimum(images + eps, 255.0)
  return jnp.clip(adv, low, high)


def random_targets(labels: jax.Array, num_classes: int, keys: jax.Array) -> jax.Array:
  """A uniform target for each image that is never its own class (FD).

  Args:
    labels: [n], the true classes.
    num_classes: at least 2.
    keys: [n], a PRNG key for each image.

  Returns:
    [n], (label + U{1..num_classes-1}) mod num_classes.
  """

  def one(label: jax.Array, key: jax.Array) -> jax.Array:
    shift = jax.random.randint(jax.random.fold_in(key, 0), (), 1, num_classes)
    return (label + shift) % num_classes

  return jax.vmap(one)(labels, keys)


def image_keys(key: jax.Array, indices: jax.Array) -> jax.Array:
  """A key for each image: [n], from one key and the images' indices in the data set."""
  return jax.vmap(jax.random.fold_in, (None, 0))(key, indices)
