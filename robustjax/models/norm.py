"""Normalisation by domain: plain BN, Mixture BN and GN behind one call.

Paper section 4.2 keeps one set of batch normalisation for clean images and
another for adversarial ones (Figure 4). Here a norm layer holds one *branch*
(scale, bias, running mean and variance) for each of its domains, and a forward
pass names the domain whose branch it goes through.

Batch statistics are taken over *groups* of images: one GPU's share of 32 in the
paper. The forward pass says how many groups its batch holds, so that neither the
device count nor a mixture of clean and adversarial images changes their size.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

Domain = Literal["clean", "adv"]
Statistics = Literal["batch", "running"]

MOMENTUM = 0.9  # FD: BatchNorm momentum
EPSILON = 1e-5  # FD: BatchNorm epsilon


class Branch(nn.Module):
  """Scale, bias and running statistics of one domain.

  Attributes:
    statistics: "batch" normalises each group with its own mean and variance and
      moves the running ones towards their average over the groups, that of variances
      by their unbiased estimates (FD, PyTorch); "running" normalises with the running
      ones, which stay as they are.
    groups: how many groups the batch holds; contiguous images share a group.
    dtype: of the result. Parameters and statistics are always float32.
    scale_init: the initial scale (gamma).
  """

  statistics: Statistics
  groups: int
  dtype: Any
  scale_init: Callable[..., jax.Array]

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    features = x.shape[-1]
    scale = self.param("scale", self.scale_init, (features,), jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, (features,), jnp.float32)
    running_mean = self.variable("batch_stats", "mean", jnp.zeros, (features,))
    running_var = self.variable("batch_stats", "var", jnp.ones, (features,))
    if self.statistics == "running":
      mean, var = running_mean.value, running_var.value
      return _normalise(x, mean, var, scale, bias, self.dtype)

    if x.shape[0] % self.groups:
      raise ValueError(f"{x.shape[0]} images do not split into {self.groups} groups")
    grouped = x.reshape(self.groups, -1, *x.shape[1:])
    over = tuple(range(1, grouped.ndim - 1))
    full = grouped.astype(jnp.float32)
    mean = jnp.mean(full, over, keepdims=True)
    # E[x^2] - E[x]^2 reads the activations once, where a two-pass variance reads
    # them twice: normalisation is bound by memory, not by arithmetic.
    var = jnp.mean(jnp.square(full), over, keepdims=True) - jnp.square(mean)
    var = jnp.maximum(var, 0.0)
    if not self.is_initializing():
      count = grouped[0, ..., 0].size
      unbiased = var * (count / max(count - 1, 1))
      for running, batch in ((running_mean, mean), (running_var, unbiased)):
        average = jnp.mean(batch.reshape(self.groups, features), 0)
        running.value = MOMENTUM * running.value + (1 - MOMENTUM) * average
    return _normalise(grouped, mean, var, scale, bias, self.dtype).reshape(x.shape)


def _normalise(
  x: jax.Array,
  mean: jax.Array,
  var: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
  dtype: Any,
) -> jax.Array:
  factor = jax.lax.rsqrt(var + EPSILON) * scale
  return ((x.astype(jnp.float32) - mean) * factor + bias).astype(dtype)


class BatchNorm(nn.Module):
  """Batch normalisation with one branch a domain; use `batch` to make one.

  Attributes:
    domains: ("all",) is plain BN, ("clean", "adv") is Mixture BN.
    domain, statistics, groups: of this forward pass, see `Branch`. Plain BN sends
      every domain through its only branch.
  """

  domains: tuple[str, ...] = ("all",)
  domain: Domain = "adv"
  statistics: Statistics = "running"
  groups: int = 1
  dtype: Any = jnp.float32
  scale_init: Callable[..., jax.Array] = nn.initializers.ones

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    branches = {
      name: Branch(self.statistics, self.groups, self.dtype, self.scale_init, name=name)
      for name in self.domains
    }
    if self.is_initializing():  # every branch gets its variables
      for branch in branches.values():
        branch(x)
    return branches[self.domain if len(self.domains) > 1 else self.domains[0]](x)


class GroupNorm(nn.Module):
  """Group normalisation, which knows no batch and so no domain; see `group`."""

  channel_groups: int = 32
  domain: Domain = "adv"
  statistics: Statistics = "running"
  groups: int = 1
  dtype: Any = jnp.float32
  scale_init: Callable[..., jax.Array] = nn.initializers.ones

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    return nn.GroupNorm(
      self.channel_groups,
      epsilon=EPSILON,
      dtype=self.dtype,
      scale_init=self.scale_init,
      name="all",
    )(x)


def batch(domains: tuple[str, ...] = ("all",)) -> Callable[..., nn.Module]:
  """Batch normalisation for a ResNet.

  Args:
    domains: ("all",) for plain BN, ("clean", "adv") for MBN (paper section 4.2).

  Returns:
    A maker of norm layers, to pass as `norm` to `resnet.make`.
  """
  return functools.partial(BatchNorm, domains=domains)


def group(channel_groups: int = 32) -> Callable[..., nn.Module]:
  """Group normalisation for a ResNet (paper section 4.2, Wu & He 2018).

  Args:
    channel_groups: into how many groups the channels are split; 32 in Wu & He.

  Returns:
    A maker of norm layers, to pass as `norm` to `resnet.make`.
  """
  return functools.partial(GroupNorm, channel_groups=channel_groups)


def branch_of(tree: Any, domain: Domain) -> Any:
  """The half of an MBN model's variables that one domain uses, as plain BN's.

  Args:
    tree: nested dicts of `params`, of `batch_stats`, or of anything of their shape.
    domain: "clean" or "adv".

  Returns:
    The same tree with every {"clean": a, "adv": b} replaced by {"all": a or b}:
    it loads into the same ResNet made with `batch(("all",))`.
  """
  if not isinstance(tree, dict):
    return tree
  if set(tree) == {"clean", "adv"}:
    return {"all": tree[domain]}
  return {name: branch_of(child, domain) for name, child in tree.items()}


def has_branches(tree: Any) -> bool:
  """Whether anything in it has a branch for each domain: {"clean": a, "adv": b}."""
  if not isinstance(tree, dict):
    return False
  return set(tree) == {"clean", "adv"} or any(map(has_branches, tree.values()))


def in_both(tree: Any) -> Any:
  """Plain BN's variables in both branches of MBN, as copies.

  Args:
    tree: as `branch_of` takes, of plain BN.

  Returns:
    The same tree with every {"all": a} replaced by {"clean": a, "adv": a}.
  """
  if not isinstance(tree, dict):
    return tree
  if set(tree) == {"all"}:
    return {"clean": tree["all"], "adv": jax.tree.map(jnp.copy, tree["all"])}
  return {name: in_both(child) for name, child in tree.items()}
