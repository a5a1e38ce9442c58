"""Pieces as somebody writes them, right and wrong, for `own_pieces:NAME`."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax

from robustjax.data import sources
from robustjax.models import norm as norms

NOT_A_FUNCTION = 3


class Net(nn.Module):
  classes: int
  norm: Callable[..., nn.Module]
  dtype: object = jnp.float32

  @nn.compact
  def __call__(self, images, domain="adv", statistics="running", groups=1):
    x = images[:, ::7, ::7].astype(jnp.float32) / 255
    x = nn.Conv(8, (3, 3), strides=(2, 2))(x)
    how = {"domain": domain, "statistics": statistics, "groups": groups}
    x = nn.relu(self.norm(**how, dtype=self.dtype)(x))
    return nn.Dense(self.classes)(x.mean((1, 2)))


def network(classes, norm):
  return Net(classes, norm)


def asks_too_much(classes, norm, colour):
  return Net(classes, norm)


def no_module(classes):
  return lambda images: images


def of_three_classes(classes, norm):
  return Net(3, norm)


def without_norm(classes):
  return Net(classes, lambda **_: lambda x: x)


class OtherCall(nn.Module):
  @nn.compact
  def __call__(self, images):
    return nn.Dense(10)(images.mean((1, 2)))


def other_call():
  return OtherCall()


def raises(classes):
  raise RuntimeError("out of\nideas")


class Instance(nn.Module):
  """Scale and bias of a domain, behind instance normalisation."""

  domains: tuple = ("all",)
  domain: str = "adv"
  statistics: str = "running"
  groups: int = 1
  dtype: object = jnp.float32
  scale_init: object = nn.initializers.ones

  @nn.compact
  def __call__(self, x):
    y = (x - x.mean((1, 2), keepdims=True)) / (x.std((1, 2), keepdims=True) + 1e-3)
    branches = {name: nn.Dense(x.shape[-1], name=name) for name in self.domains}
    outs = {name: branch(y) for name, branch in branches.items()}
    return outs[self.domain if len(outs) > 1 else self.domains[0]]


def instance(domains):
  """A norm with a branch for each domain."""
  return functools.partial(Instance, domains=domains)


def single(domains):
  return functools.partial(Instance, domains=("all",))


def no_norm(domains):
  return 7


def fgsm(images, labels, targets, keys, logits_fn, eps):
  return jnp.clip(images + eps, 0, 255).astype(jnp.float32)


def smaller(images):
  return images[:, 1:].astype(jnp.float32)


def clean_only(clean, labels):
  chosen = jnp.take_along_axis(clean, labels[..., None], -1)
  return -jnp.mean(chosen), {}


def adv_only(adv, labels):
  return jnp.mean(adv**2), {"square": jnp.mean(adv)}


def of_each_image(adv):
  return adv.mean(-1), {}


def alone(adv):
  return adv.mean()


def renames(adv):
  return adv.mean(), {"loss_adv": adv.mean()}


def linear(peak, steps):
  return optax.linear_schedule(peak, 0.0, steps)


def no_rate(peak):
  return lambda step: jnp.zeros(3)


def images(split, count=40):
  """A data set of grey squares, in ten classes."""
  rng = np.random.default_rng(split == "train")
  pixels = rng.integers(0, 256, (count, 28, 28, 1)).astype(np.uint8)
  records = [{"image": image, "label": i % 10} for i, image in enumerate(pixels)]
  names = tuple("abcdefghij")
  return sources.Source("squares", split, names, pixels.shape[1:], records)


def no_images(split):
  return []


def batch_norm(domains):
  return norms.batch(domains)


def without_scale(domains):
  def layer(*, domain, statistics, groups, dtype):
    return Instance()

  return layer
