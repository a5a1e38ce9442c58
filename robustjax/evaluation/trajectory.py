"""Readings of attack trajectories, with exact counts.

PGD-20, -100, -500 and -2000 share their step size, and so are readings of one
trajectory: its accuracy after n steps (paper Figures 2 and 3, Table 7). Counts are sums
of integers over masked batches, divided once at the end.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from robustjax.attacks import pgd
from robustjax.errors import UserError

Variables = Any
Batch = dict[str, jax.Array]

# Between two looks at whether to stop: seconds for a ResNet-152 on an accelerator.
CHUNK = 50


@dataclasses.dataclass(frozen=True)
class Trajectory:
  """One run of the attack and the steps after which it is read.

  Attributes:
    step_size: of 255.
    readings: ascending numbers of steps.
  """

  step_size: float
  readings: tuple[int, ...]


def trajectories(
  readings: Iterable[int], eps: float, step_size: float
) -> list[Trajectory]:
  """The fewest trajectories that hold all readings.

  PGD-N moves by max(step_size, eps / N), so that N steps can cross the cube: 1.6 for
  PGD-10 at eps 16, and 1 from PGD-16 on. The paper's PGD-10 column comes from this
  rule: FD's published errors for its ResNet-152, 37.7 / 47.5 / 58.3 % (clean / PGD-10 /
  PGD-100), are exactly Table 7's 62.3 / 52.5 / 41.7.

  Args:
    readings: numbers of steps.
    eps: of 255.
    step_size: of 255.

  Returns:
    One trajectory for each step size, the largest first.
  """
  by_size: dict[float, list[int]] = {}
  for n in sorted(set(readings)):
    by_size.setdefault(max(step_size, eps / n), []).append(n)
  return [Trajectory(size, tuple(ns)) for size, ns in by_size.items()]


@dataclasses.dataclass(frozen=True)
class Steps:
  """The pure per-device functions of an evaluation; see `make_steps`."""

  begin: Callable[..., Any]
  advance: Callable[..., Any]
  read: Callable[..., Any]


def make_steps(
  logits: Callable[[Variables, jax.Array], jax.Array],
  attack_logits: Callable[[Variables, jax.Array], jax.Array],
  *,
  eps: float,
  num_classes: int,
  axis: str | None = None,
) -> Steps:
  """What a device does in an evaluation.

  Args:
    logits: (variables, images [n, h, w, c]) to [n, k], which predictions come from.
    attack_logits: the same function, perhaps computed in another way, for gradients.
    eps: of 255.
    num_classes: the number of classes to draw targets from.
    axis: the name of the mapped axis, over which counts are summed, or None.

  Returns:
    begin(batch, key) -> (targets [n], first iterate [n, h, w, c]): always from a
      random point of the cube (paper section 3). The randomness of an image follows
      from the key and the image's index alone.
    advance(variables, batch, adv, targets, step_size, steps) -> adv.
    read(variables, batch, adv, targets, survived) -> (survived [n] bool, counts):
      survived marks the images that were classified rightly at this reading and all
      before; counts are the int32 scalars correct, target_hits, survived and
      not_finite, of images whose logits are not all numbers, and
      skipped if the batch has it: 1 for each broken image that its mask leaves out.
  """
  attack = pgd.PGD(eps=eps, step_size=0.0, steps=0)

  def begin(batch: Batch, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    keys = pgd.image_keys(key, batch["index"])
    targets = pgd.random_targets(batch["label"], num_classes, keys)
    return targets, attack.start(batch["image"], keys)

  def advance(
    variables: Variables,
    batch: Batch,
    adv: jax.Array,
    targets: jax.Array,
    step_size: jax.Array,
    steps: jax.Array,
  ) -> jax.Array:
    moving = dataclasses.replace(attack, step_size=step_size)  # type: ignore[arg-type]
    return moving.advance(
      lambda x: attack_logits(variables, x), batch["image"], adv, targets, steps
    )

  def read(
    variables: Variables,
    batch: Batch,
    adv: jax.Array,
    targets: jax.Array,
    survived: jax.Array,
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    scores = logits(variables, adv)
    predicted = scores.argmax(-1)
    correct = (predicted == batch["label"]) & batch["mask"]
    survived = survived & correct
    counts = {
      "correct": correct,
      "target_hits": (predicted == targets) & batch["mask"],
      "survived": survived,
      "not_finite": ~jnp.isfinite(scores).all(-1) & batch["mask"],
      **({"skipped": batch["skipped"]} if "skipped" in batch else {}),
    }
    counts = {k: jnp.sum(v, dtype=jnp.int32) for k, v in counts.items()}
    return survived, jax.lax.psum(counts, axis) if axis else counts

  return Steps(begin, advance, read)


def count_batch(
  steps: Steps,
  variables: Variables,
  batch: Batch,
  key: jax.Array,
  plan: Sequence[Trajectory],
  after_chunk: Callable[[int], None] = lambda steps: None,
) -> dict[str, int]:
  """All counts of one batch through one branch.

  Args:
    steps: from `make_steps`, mapped over devices or not.
    variables: of a network with a single branch (`norm.branch_of`).
    batch: padded and masked.
    key: of the evaluation.
    plan: from `trajectories`.
    after_chunk: called with the number of attack steps just made; may raise.

  Returns:
    "correct/0" and "target_hits/0" of the clean images; "correct/N" and
    "target_hits/N" of each reading; "worst/correct", the images that no reading broke,
    the clean one included;
    "skipped", the broken ones, if the batch counts them.

  Raises:
    UserError: logits are not finite.
  """
  targets, start = steps.begin(batch, key)
  everything = batch["mask"]
  survived, counts = steps.read(
    variables, batch, batch["image"].astype(jnp.float32), targets, everything
  )
  _check_finite(counts, "on clean images")
  found = {f"{name}/0": counts[name] for name in ("correct", "target_hits")}
  found |= {"skipped": counts["skipped"]} if "skipped" in counts else {}
  worst = counts["survived"]
  for trajectory in plan:
    adv, done = start, 0
    for n in trajectory.readings:
      while done < n:
        chunk = min(CHUNK, n - done)
        adv = steps.advance(variables, batch, adv, targets, trajectory.step_size, chunk)
        done += chunk
        after_chunk(chunk)
      survived, counts = steps.read(variables, batch, adv, targets, survived)
      _check_finite(counts, f"after {n} steps")
      found |= {f"{name}/{n}": counts[name] for name in ("correct", "target_hits")}
      worst = counts["survived"]
  return {
    name: int(count) for name, count in (found | {"worst/correct": worst}).items()
  }


def _check_finite(counts: Mapping[str, jax.Array], when: str) -> None:
  """Where logits are not numbers, the largest would be that of class 0."""
  if images := int(counts["not_finite"]):
    raise UserError(
      f"the logits of {images} images are not finite {when}, and no prediction follows"
      " from them: the network has diverged; train it anew in another --workdir, with a"
      " lower config.optimizer.lr_per_256 or momentum, a longer warm-up or a weaker"
      " attack, or in float32"
    )


def rows(
  counts: Mapping[str, int],
  images: int,
  branch: str,
  plan: Sequence[Trajectory],
  eps: float,
) -> list[dict[str, Any]]:
  """The rows of evaluation.json that one branch's summed counts make.

  Args:
    counts: sums of what `count_batch` returned.
    images: how many images were counted.
    branch: the branch's name.
    plan: from `trajectories`.
    eps: of 255.

  Returns:
    The clean row (attack "none", 0 steps), then a row a reading (attack "pgd") by
    ascending steps.
  """

  def row(steps: int, step_size: float) -> dict[str, Any]:
    correct = counts[f"correct/{steps}"]
    return {
      "branch": branch,
      "attack": "pgd" if steps else "none",
      "steps": steps,
      "step_size": step_size,
      "eps": eps if steps else 0.0,
      "images": images,
      "correct": correct,
      "accuracy": correct / images,
      "target_hits": counts[f"target_hits/{steps}"],
    }

  readings = sorted((n, t.step_size) for t in plan for n in t.readings)
  return [row(0, 0.0), *(row(n, size) for n, size in readings)]
