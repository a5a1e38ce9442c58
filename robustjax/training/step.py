"""The pure steps of training, as one device computes them.

`attack_step` makes the adversarial images of a batch, `train_step` learns from a
batch, `eval_step` counts over one. Each is a pure function (state, batch, key) of
this device's share of the batch; `runtime.parallel.pmap` maps it over the devices.
A batch is {"image": [n, h, w, c] uint8, "label": [n], "index": [n]} and, for
evaluation, {"mask": [n]}: False where the batch is padded. Where broken images may be
skipped, it also has {"skipped": [n]}: how many were passed over for each row.
"""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import optax

from robustjax.attacks import pgd
from robustjax.training import losses
from robustjax.training.state import TrainState

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
Step = Callable[[TrainState, Batch, jax.Array], Any]


@dataclasses.dataclass(frozen=True)
class Strategy:
  """What a training batch mixes, and how it is coupled (paper section 4.1).

  Attributes:
    adv: whether the batch holds adversarial images; without, it is clean only.
    clean_ratio: clean counterparts kept for each adversarial image, 0..1. A group of
      32 keeps round(32 * ratio) of them.
    alp_weight: of adversarial logit pairing; 0 for none.
    label_smoothing: 0.1 in FD, in the training loss only.
    group: adversarial images that share batch statistics (32: one GPU's share).
      Under plain BN their clean counterparts are normalised with them.
    separate: whether clean and adversarial images make forward passes of their own,
      each through its branch (MBN).
    statistics: "batch", or "running" in the last epochs of the * rows (section 4.3):
      the running statistics normalise and stay frozen; scale and bias still train.
  """

  adv: bool = True
  clean_ratio: float = 1.0
  alp_weight: float = 0.0
  label_smoothing: float = 0.1
  group: int = 32
  separate: bool = False
  statistics: str = "batch"

  @property
  def clean_kept(self) -> int:
    """How many clean images a group keeps."""
    return round(self.group * self.clean_ratio) if self.adv else self.group


# What an attack may be called with, and what PGD is.
ATTACK_SEES = (
  "logits_fn", "clean_logits_fn", "images", "labels", "targets", "keys"
)  # fmt: skip
_PGD_SEES = ("logits_fn", "images", "targets", "keys")


def make_attack_step(
  apply: Callable[..., Any],
  attack: Callable[..., jax.Array],
  num_classes: int,
  sees: Collection[str] = _PGD_SEES,
) -> Step:
  """The step that turns a batch into its adversarial images and targets.

  Args:
    apply: the model's `apply`. The attack goes through the adv branch with running
      statistics, and changes none (FD; AdvProp does the same under MBN).
    attack: a `pgd.PGD`, or another function of arguments by name.
    num_classes: the number of classes to draw targets from.
    sees: which of `ATTACK_SEES` it takes; "clean_logits_fn" goes through the clean
      branch.

  Returns:
    attack_step(state, batch, key) -> (adv [n, h, w, c] in 0..255, targets [n]). The
    randomness of an image follows from `key`, the step and the image's index.
  """

  def attack_step(
    state: TrainState, batch: Batch, key: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    keys = pgd.image_keys(jax.random.fold_in(key, state.step), batch["index"])
    targets = pgd.random_targets(batch["label"], num_classes, keys)
    images = batch["image"].astype(jnp.float32)

    def through(domain: str) -> pgd.LogitsFn:
      return lambda x: apply(state.variables, x, domain=domain, statistics="running")

    given = {
      "logits_fn": through("adv"),
      "clean_logits_fn": through("clean"),
      "images": images,
      "labels": batch["label"],
      "targets": targets,
      "keys": keys,
    }
    return attack(**{name: given[name] for name in sees}), targets

  return attack_step


def make_train_step(
  apply: Callable[..., Any],
  attack_step: Step,
  strategy: Strategy,
  optimizer: optax.GradientTransformation,
  axis: str | None = None,
  trained: Callable[[Any], Any] | None = None,
  piece: Callable[..., Any] | None = None,
) -> Step:
  """The step that learns from one batch.

  Args:
    apply: the model's `apply`.
    attack_step: from `make_attack_step`.
    strategy: what is learned from.
    optimizer: from `robustjax.training.optimizer`.
    axis: the name of the mapped axis, over which gradients, statistics and metrics
      are averaged; None on a single device.
    trained: parameters -> a tree of booleans, which of them have a gradient; all of
      them if None.
    piece: another loss than the paper's: called with the logits "clean" and "adv" that
      the strategy has, [groups, m, k], and with "labels" [groups, n], all by name, it
      returns the loss and more metrics, {name: scalar}.

  Returns:
    train_step(state, batch, key) -> (state, metrics), every metric a float32 scalar:
    loss and grad_norm; loss_clean, accuracy_clean, loss_adv, accuracy_adv of the
    domains that the strategy has; alp where it has a weight. If the batch has
    "skipped", their int32 sum over all devices.
  """

  def train_step(
    state: TrainState, batch: Batch, key: jax.Array
  ) -> tuple[TrainState, Metrics]:
    groups = _groups(batch, strategy.group)
    clean, adv, labels = _mixture(state, batch, key, attack_step, strategy, groups)

    def loss_fn(params: Any) -> tuple[jax.Array, tuple[Any, Metrics]]:
      variables = {"params": params, "batch_stats": state.batch_stats}
      logits, stats = _forward(apply, variables, clean, adv, strategy, groups)
      loss, metrics = _loss(logits, labels, strategy, piece)
      return loss, (stats, metrics)

    grads, (stats, metrics) = jax.grad(loss_fn, has_aux=True)(state.params)
    if trained:  # XLA then leaves the others' gradients out
      none = jax.tree.map(jnp.zeros_like, grads)
      grads = jax.tree.map(jnp.where, trained(grads), grads, none)
    if axis:
      grads, stats, metrics = jax.lax.pmean((grads, stats, metrics), axis)
    metrics["grad_norm"] = optax.tree.norm(grads)
    if "skipped" in batch:
      skipped = jnp.sum(batch["skipped"])
      metrics["skipped"] = jax.lax.psum(skipped, axis) if axis else skipped
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    return state.replace(
      step=state.step + 1,
      params=optax.apply_updates(state.params, updates),
      batch_stats=stats,
      opt_state=opt_state,
    ), metrics

  return train_step


def make_eval_step(
  apply: Callable[..., Any], attack_step: Step, axis: str | None = None
) -> Step:
  """The step that counts over one padded batch, for validation during training.

  Args:
    apply: the model's `apply`.
    attack_step: from `make_attack_step`.
    axis: the name of the mapped axis, over which counts are summed, or None.

  Returns:
    eval_step(state, batch, key) -> counts, int32 scalars: images, correct_clean
    through the clean branch, correct_adv and target_hits through the adv branch, and
    not_finite, the images of which either has logits that are not numbers.
  """

  def eval_step(state: TrainState, batch: Batch, key: jax.Array) -> Metrics:
    adv, targets = attack_step(state, batch, key)
    logits_adv = apply(state.variables, adv, domain="adv")
    logits_clean = apply(state.variables, batch["image"], domain="clean")
    predicted_adv, predicted_clean = logits_adv.argmax(-1), logits_clean.argmax(-1)
    finite = jnp.isfinite(logits_adv) & jnp.isfinite(logits_clean)
    counts = {
      "images": jnp.ones_like(batch["mask"]),
      "correct_clean": predicted_clean == batch["label"],
      "correct_adv": predicted_adv == batch["label"],
      "target_hits": predicted_adv == targets,
      "not_finite": ~finite.all(-1),
    }
    counts = {k: jnp.sum(v & batch["mask"], dtype=jnp.int32) for k, v in counts.items()}
    return jax.lax.psum(counts, axis) if axis else counts

  return eval_step


def _groups(batch: Batch, group: int) -> int:
  images = len(batch["label"])
  if images % group:
    raise ValueError(f"{images} images a device do not split into groups of {group}")
  return images // group


def _mixture(
  state: TrainState,
  batch: Batch,
  key: jax.Array,
  attack_step: Step,
  strategy: Strategy,
  groups: int,
) -> tuple[jax.Array | None, jax.Array | None, jax.Array]:
  """Clean and adversarial images by group: [groups, m, h, w, c], and labels."""

  def by_group(x: jax.Array) -> jax.Array:
    return x.reshape(groups, strategy.group, *x.shape[1:])

  clean = by_group(batch["image"].astype(jnp.float32))[:, : strategy.clean_kept]
  adv = by_group(attack_step(state, batch, key)[0]) if strategy.adv else None
  return clean if strategy.clean_kept else None, adv, by_group(batch["label"])


def _forward(
  apply: Callable[..., Any],
  variables: dict[str, Any],
  clean: jax.Array | None,
  adv: jax.Array | None,
  strategy: Strategy,
  groups: int,
) -> tuple[dict[str, jax.Array], Any]:
  """Logits by domain, [groups, m, k] each, and the new running statistics."""
  images = {d: x for d, x in (("clean", clean), ("adv", adv)) if x is not None}
  stats = variables["batch_stats"]

  def through(x: jax.Array, domain: str, stats: Any) -> tuple[jax.Array, Any]:
    logits, new = apply(
      {"params": variables["params"], "batch_stats": stats},
      x.reshape(-1, *x.shape[2:]),
      domain=domain,
      statistics=strategy.statistics,
      groups=groups,
      mutable=["batch_stats"],
    )
    return logits.reshape(groups, -1, logits.shape[-1]), new.get("batch_stats", stats)

  if strategy.separate:
    logits = {}
    for domain, x in images.items():
      logits[domain], stats = through(x, domain, stats)
    return logits, stats
  together, stats = through(jnp.concatenate(list(images.values()), 1), "adv", stats)
  pairs = clean.shape[1] if clean is not None else 0
  parts = {"clean": together[:, :pairs], "adv": together[:, pairs:]}
  return {d: parts[d] for d in images}, stats


def _loss(
  logits: dict[str, jax.Array],
  labels: jax.Array,
  strategy: Strategy,
  piece: Callable[..., Any] | None,
) -> tuple[jax.Array, Metrics]:
  by_image: dict[str, jax.Array] = {}
  metrics: Metrics = {}
  for domain, x in logits.items():
    own_labels = labels[:, : x.shape[1]].reshape(-1)
    flat = x.reshape(-1, x.shape[-1])
    by_image[domain] = losses.cross_entropy(flat, own_labels, strategy.label_smoothing)
    metrics[f"loss_{domain}"] = jnp.mean(by_image[domain])
    metrics[f"accuracy_{domain}"] = jnp.mean(
      flat.argmax(-1) == own_labels, dtype=jnp.float32
    )
  if piece:
    loss, others = piece(**logits, labels=labels)
    return loss, metrics | others | {"loss": loss}
  loss = losses.mixture(by_image)
  if strategy.alp_weight:
    pairs = logits["clean"].shape[1]  # the adversarial images whose clean ones are kept
    metrics["alp"] = losses.logit_pairing(
      logits["adv"][:, :pairs].reshape(-1, logits["adv"].shape[-1]),
      logits["clean"].reshape(-1, logits["clean"].shape[-1]),
    )
    loss = loss + strategy.alp_weight * metrics["alp"]
  return loss, metrics | {"loss": loss}
