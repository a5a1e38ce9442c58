"""Small networks that are trained here, and what two suites leave of their images.

Its importer asks for PyTorch and pyautoattack first: this file takes them as given.
"""

import functools

import jax
import jax.numpy as jnp
import networks
import numpy as np
import optax
import pyautoattack
import torch

from benchmarks.torch_resnet import ResNet
from robustjax.attacks import pgd
from robustjax.attacks.balls import Ball
from robustjax.data import pipeline, sources, transforms
from robustjax.evaluation import compiled, suite
from robustjax.evaluation.ledger import Ledger
from robustjax.evaluation.network import Network
from robustjax.evaluation.robustness import Evaluation
from robustjax.models import norm as norms
from robustjax.models import resnet
from robustjax.runtime import parallel
from robustjax.runtime.preemption import Stop

COUNT, TRAINED, EPS = 200, 4000, 20.0
NORMS = {
  "bn": norms.batch(),
  "mbn": norms.batch(("clean", "adv")),
  "gn": norms.group(4),
}


def shipped(split, count):
  """Images of 8x8 pixels, the shipped ones made smaller, and their labels."""
  source = sources.open_source("fashion_mnist_mini", split=split)
  plain = transforms.by_name("none", False, 28)
  batch = pipeline.batch_of(source, plain, range(count))
  inner = batch["image"][:, 2:26, 2:26].reshape(count, 8, 3, 8, 3, 1)
  return np.rint(inner.mean((2, 4))).astype(np.uint8), batch["label"]


IMAGES, LABELS = shipped("test", COUNT)


@functools.cache
def trained(norm):
  """A small network, trained on clean images and on their adversarial ones."""
  net = resnet.make(
    (1, 1),
    norm=NORMS[norm],
    num_classes=10,
    block="basic",
    width=8,
    stem="small_stride2",
  )
  attack = pgd.PGD(eps=EPS, step_size=EPS / 2, steps=3)
  variables = resnet.initial(net, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
  params, rest = variables["params"], {"batch_stats": variables.get("batch_stats", {})}
  optimizer = optax.sgd(optax.linear_schedule(0.1, 0.0, 300), 0.9)

  def loss(params, rest, images, adv, labels):
    total = 0.0
    for domain, x in (("clean", images), ("adv", adv)):
      variables = {"params": params, **rest}
      logits, rest = net.apply(variables, x, domain, "batch", mutable=["batch_stats"])
      rest = {"batch_stats": rest.get("batch_stats", {})}
      terms = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
      total += terms.mean()
    return total, rest

  @jax.jit
  def step(carry, batch):
    params, rest, state = carry
    images, labels, key = batch
    keys = pgd.image_keys(key, jnp.arange(len(labels)))
    targets = pgd.random_targets(labels, 10, keys)
    logits_fn = lambda x: net.apply({"params": params, **rest}, x)  # noqa: E731
    adv = attack(logits_fn, images, targets, keys)
    gradients, rest = jax.grad(loss, has_aux=True)(params, rest, images, adv, labels)
    updates, state = optimizer.update(gradients, state)
    return (optax.apply_updates(params, updates), rest, state), None

  images, labels = shipped("train", TRAINED)
  rng = np.random.default_rng(0)
  chosen = rng.integers(0, TRAINED, (300, 64))
  batches = images[chosen].astype(np.float32), labels[chosen]
  keys = jax.random.split(jax.random.key(1), 300)
  carry = params, rest, optimizer.init(params)
  (params, rest, _), _ = jax.lax.scan(step, carry, (*batches, keys))
  return net, {"params": params, **(rest if norm != "gn" else {})}


def left_by_both(norm, branch, folder):
  """Correct images of ours, {"clean", "robust"}, and of the official suite."""
  net, variables = trained(norm)
  if norm == "mbn":
    net = net.clone(norm=norms.batch())
    variables = norms.branch_of(variables, branch)
  logits = lambda v, x: net.apply(v, x)  # noqa: E731
  network = Network("trained", branch, variables, logits, logits)
  mesh = parallel.mesh(jax.devices()[:1])
  made = compiled.programs(
    network, suite.named("standard", Ball("linf", EPS)), (8, 8, 1), mesh
  )
  summary = Evaluation(
    network, network, made, range(COUNT),
    lambda some: networks.batches(some, 50, mesh, LABELS, IMAGES),
    50, 0, Ledger(folder, {}), Stop(), shows=False,
  ).run()  # fmt: skip

  model = ResNet(variables, (1, 1), 2, 4 if norm == "gn" else 0)
  x = torch.tensor(IMAGES.transpose(0, 3, 1, 2) / np.float32(255))
  y = torch.tensor(LABELS.astype(np.int64))
  np.testing.assert_allclose(model(x), logits(variables, IMAGES), rtol=1e-3, atol=1e-4)
  official = pyautoattack.AutoAttack(
    model, norm="Linf", eps=EPS / 255, version="standard", device="cpu", seed=0,
  )  # fmt: skip
  with torch.no_grad():
    adv, *_ = official.run_standard_evaluation(x, y, batch_size=COUNT)
    left = model(adv).argmax(1).numpy() == LABELS
    right = model(x).argmax(1).numpy() == LABELS
  theirs = {"clean": int(right.sum()), "robust": int(left.sum())}
  print(norm, branch, summary, theirs)
  return summary, theirs
