"""Our targeted PGD is torchattacks' and foolbox's: same net, start, targets, images."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import CLASSES, lively, tiny

from robustjax.attacks import pgd
from robustjax.models import norm as norms

pytestmark = pytest.mark.parity

WHY = "`make parity` installs what the parity tests compare with"
torch = pytest.importorskip("torch", reason=WHY)
torchattacks = pytest.importorskip("torchattacks", reason=WHY)
foolbox = pytest.importorskip("foolbox", reason=WHY)

# mypy takes no attribute of a variable as a base class.
Function: Any = torch.autograd.Function
Module: Any = torch.nn.Module

EPS = 16.0


@pytest.fixture(scope="module")
def setup():
  """A net in JAX and in PyTorch, 16 images with many 0s and 255s, targets, keys."""
  random = np.random.default_rng(0)
  # Greyish on average: the nets of `tiny` tell colours, and eps=16 changes few.
  colours = random.uniform(107, 147, (16, 1, 1, 3))
  pixels = np.rint(random.normal(colours, 90.0, (16, 8, 8, 3)))
  images = jnp.asarray(np.clip(pixels, 0, 255), jnp.float32)
  assert jnp.mean(images == 0) > 0.05 and jnp.mean(images == 255) > 0.05
  net = tiny(norms.batch())
  variables = lively(jax.jit(net.init)(jax.random.key(0), images), seed=1)
  # With their mean the logits name one class for every image, and no attack hits.
  head = variables["params"]["fc"]
  head["bias"] -= net.apply(variables, images).mean(0)
  logits_fn = jax.jit(lambda x: net.apply(variables, x))
  keys = pgd.image_keys(jax.random.key(2), jnp.arange(16))
  targets = pgd.random_targets(logits_fn(images).argmax(-1), CLASSES, keys)
  return logits_fn, as_torch(logits_fn), images, targets, keys


def to_jax(x):
  """PyTorch's [n, c, h, w] in 0..1 to [n, h, w, c] in 0..255."""
  return jnp.asarray(255.0 * x.detach().permute(0, 2, 3, 1).contiguous().numpy())


def to_torch(x):
  return torch.tensor(np.asarray(x / 255.0)).permute(0, 3, 1, 2).contiguous()


def as_torch(logits_fn):
  """The same net as a PyTorch module: JAX computes logits and their gradient."""
  pullback = jax.jit(lambda x, g: jax.vjp(logits_fn, x)[1](g)[0])

  class Logits(Function):
    @staticmethod
    def forward(ctx, x):
      ctx.save_for_backward(x)
      return torch.tensor(np.asarray(logits_fn(to_jax(x))))

    @staticmethod
    def backward(ctx, g):
      (x,) = ctx.saved_tensors
      gradient = 255.0 * pullback(to_jax(x), jnp.asarray(g.numpy()))  # to_jax's 255
      return torch.tensor(np.asarray(gradient)).permute(0, 3, 1, 2).contiguous()

  class Net(Module):
    def __init__(self):
      super().__init__()
      # torchattacks asks the parameters for the device.
      self.unused = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x):
      return Logits.apply(x)

  return Net().eval()


def by_torchattacks(net, images, targets, step_size, steps, random_start):
  attack = torchattacks.PGD(net, EPS / 255, step_size / 255, steps, random_start)
  attack.set_mode_targeted_by_label(quiet=True)
  return attack(images, targets)


def by_foolbox(net, images, targets, step_size, steps, random_start):
  attack = foolbox.attacks.LinfProjectedGradientDescentAttack(
    abs_stepsize=step_size / 255, steps=steps, random_start=random_start
  )
  model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
  criterion = foolbox.criteria.TargetedMisclassification(targets)
  return attack(model, images, criterion, epsilons=EPS / 255)[1]


@pytest.mark.parametrize("steps, step_size", [(1, 16.0), (10, 1.6), (30, 1.0)])
@pytest.mark.parametrize("random_start", [False, True], ids=["clean", "random"])
@pytest.mark.parametrize("library", [by_torchattacks, by_foolbox])
def test_same_images(setup, library, random_start, steps, step_size):
  logits_fn, net, images, targets, keys = setup

  def theirs(steps):
    torch.manual_seed(0)  # no steps and all the steps begin at one random start
    given = to_torch(images), torch.tensor(np.asarray(targets)).long()
    return to_jax(library(net, *given, step_size, steps, random_start))

  attack = pgd.PGD(EPS, step_size, steps, clean_start=1.0)
  if random_start:
    start = theirs(0)
    assert 0.9 * EPS < jnp.abs(start - images).max() < EPS + 1e-3
    ours = attack.advance(logits_fn, images, start, targets, steps)
  else:
    ours = attack(logits_fn, images, targets, keys)
  expected = theirs(steps)

  def loss_and_hits(adv):
    logits = logits_fn(adv)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return loss, logits.argmax(-1) == targets

  # Measured: the images differ by at most 6e-5 of 255, each image's loss by at most
  # 2e-6 of itself. But 0..1 rounds otherwise than 0..255, and a gradient of about
  # zero may turn its sign on another processor: 3 of the 3072 pixels may differ.
  same = np.isclose(ours, expected, rtol=0, atol=1e-3)
  assert same.mean() > 0.999, f"{np.sum(~same)} pixels of {same.size} differ"
  loss, hits = loss_and_hits(ours)
  expected_loss, expected_hits = loss_and_hits(expected)
  np.testing.assert_allclose(loss, expected_loss, rtol=1e-3)
  np.testing.assert_array_equal(hits, expected_hits)
  assert 0 < hits.sum() < hits.size  # measured: 5 of 16
