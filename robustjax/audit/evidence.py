"""What the checks look at: every answer and every attack, as arrays.

All programs run here; the checks are arithmetic on what they leave.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from robustjax.attacks import pgd
from robustjax.audit.differences import Differences, differences
from robustjax.audit.programs import Array, Effort, Found, Norm, Programs
from robustjax.errors import UserError
from robustjax.evaluation.network import Network
from robustjax.runtime import parallel, settings

LARGEST = 128.0  # every image can become grey: nothing can be told apart (Carlini)
PARTS = (0.25, 0.5, 0.75)  # of a single step, on its way
REPEATS = 4  # with the first pass the 5 of AutoAttack's flag


class Answers(NamedTuple):
  """What the network says of n images.

  Attributes:
    indices: [n], the places in the data set.
    logits: [n, k].
    passes: name -> [n, k], of the same images in another way: "permuted", "split",
      "attacked" (what gradients come from), "repeat 1", ...
  """

  indices: Array
  logits: Array
  passes: Mapping[str, Array]


@dataclasses.dataclass(frozen=True)
class Evidence:
  """Of n images.

  Attributes:
    images: [n, h, w, c], pixels in 0..255.
    labels: [n], the true classes.
    indices: [n], the places in the data set.
    eps: of 255.
    norm: "linf" or "l2".
    effort: what was done.
    answers: of the network.
    right: [n] bool, the images that are classified rightly; only those count below.
    flat: loss -> [n] bool, whether the image's gradient is exactly zero.
    flat_way: [n], the share of the long attack's iterates where it is.
    differences: of the margin, beside what its gradient says.
    long: the walk of PGD on the cross-entropy with the effort's most steps.
    last: the last iterates of that walk.
    attacks: name -> what it found: "fgsm", "pgd", "apgd-ce", "apgd-margin",
      "apgd-scaled", "apgd-rounded", "pgd-target" and "square".
    parts: share of the single step -> what it found.
    transfers: name of another network -> what breaks this one of its images.
    ladder: eps, ascending, up to `LARGEST` -> [n] bool, broken by PGD.
  """

  images: Array
  labels: Array
  indices: Array
  eps: float
  norm: Norm
  effort: Effort
  answers: Answers
  right: Array
  flat: Mapping[str, Array]
  flat_way: Array
  differences: Differences
  long: Mapping[str, Array]
  last: Found
  attacks: Mapping[str, Found]
  parts: Mapping[float, Found]
  transfers: Mapping[str, Found]
  ladder: Mapping[float, Array]

  @property
  def count(self) -> int:
    """How many images are classified rightly."""
    return int(self.right.sum())

  @property
  def white_box(self) -> Array:
    """[n] bool, broken by an attack along this network's own gradients."""
    names = ("pgd", "apgd-ce", "apgd-margin")
    return np.any([self.attacks[name].broken for name in names], 0)

  def accuracy_after(self, steps: int) -> float:
    """The share of the images that PGD does not break within so many steps."""
    return float((self.right & (self.long["first"] > steps)).sum() / len(self.labels))


def ladder(eps: float, norm: str, pixels: int) -> list[float]:
  """Every eps of the ladder: doubled up to `LARGEST`.

  In L2 the last is as long as a change of all pixels by `LARGEST`.
  """
  top = LARGEST * (pixels**0.5 if norm == "l2" else 1.0)
  rungs = [eps]
  while rungs[-1] * 2 < top:
    rungs.append(rungs[-1] * 2)
  return rungs if eps >= top else [*rungs, top]


def gather(
  network: Network,
  others: Sequence[Network],
  images: Array,
  labels: Array,
  indices: Array,
  *,
  eps: float,
  norm: Norm = "linf",
  seed: int = 0,
  mesh: Any = None,
  effort: Effort = Effort(),  # noqa: B008 - it is frozen
  say: Callable[[str], None] = lambda text: None,
) -> Evidence:
  """Runs everything; see `Evidence`.

  Args:
    network: what is audited.
    others: networks whose adversarial images are tried on it: its other branch, or
      another run's.
    images: [n, h, w, c], pixels in 0..255.
    labels: [n], the true classes.
    indices: [n], the places in the data set, from which all randomness follows.
    eps: of 255, above 0.
    norm: of the ball.
    seed: of the randomness.
    mesh: by default of this process's devices.
    effort: how much it does.
    say: is told what comes next.

  Raises:
    UserError: the network has too few outputs for the labels.
  """
  mesh = mesh or parallel.mesh(jax.local_devices())
  labels, indices = (np.asarray(a, np.int32) for a in (labels, indices))
  rows = {"image": np.asarray(images), "label": labels, "index": indices}
  rows["target"] = np.zeros_like(labels)  # until the number of classes is known
  network = _with_gradient(network, images.shape[1:], say)
  programs = Programs(network, rows, norm, seed, mesh, effort)
  say("the network's answers")
  answers = ask(programs, seed)
  classes = answers.logits.shape[-1]
  if classes < 2 or labels.max() >= classes:
    raise UserError(
      f"{network.name} has {classes} outputs, and the images' classes go up to"
      f" {labels.max()}: they are of another data set"
    )
  rows["target"] = _targets(labels, indices, classes, seed)
  say("single steps")
  flat = {
    loss: (programs.gradient(loss, rows["image"]) == 0).all((1, 2, 3))
    for loss in ("ce", "margin", "dlr")
  }
  parts = _single_steps(programs, eps)
  say("differences")
  measured = differences(programs, eps, seed)
  say(f"PGD-{effort.most} and larger eps")
  long = programs.walk("ce", eps, effort.most)
  broken = {eps: long["first"] <= effort.steps}
  for rung in ladder(eps, norm, int(np.prod(images.shape[1:])))[1:]:
    broken[rung] = programs.walk("ce", rung, effort.steps)["first"] <= effort.steps
  attacks = {"fgsm": parts.pop(1.0), "pgd": programs.judged(long["adv"])}
  attacks |= _attacks(programs, eps, say)
  transfers = {}
  for other in others:
    name = _called(other, network)
    say(f"images made on {name}")
    made = Programs(other, rows, norm, seed, mesh, effort).apgd("ce", eps)
    transfers[name] = programs.judged(made)
  return Evidence(
    images=np.asarray(images),
    labels=labels,
    indices=indices,
    eps=eps,
    norm=norm,
    effort=effort,
    answers=answers,
    right=np.isfinite(answers.logits).all(-1) & (answers.logits.argmax(-1) == labels),
    flat=flat,
    flat_way=long["flat"].sum(-1) / (effort.most + 1),
    differences=measured,
    long=long,
    last=programs.judged(long["last"]),
    attacks=attacks,
    parts=parts,
    transfers=transfers,
    ladder=broken,
  )


def _with_gradient(
  network: Network, shape: Sequence[int], say: Callable[[str], None]
) -> Network:
  """The network, with a gradient of zero if JAX can compute none of it.

  So that such a one, which asks the host for its noise, say, has a verdict too.
  """

  def total(variables: Any, x: jax.Array) -> jax.Array:
    return network.attack_logits(variables, x).astype(jnp.float32).sum()

  images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
  try:
    jax.eval_shape(jax.grad(total, 1), network.variables, images)
  except Exception as error:  # whatever somebody's code raises
    say(f"no gradient, which counts as zero: {type(error).__name__}")

    def without(variables: Any, x: jax.Array) -> jax.Array:
      return network.attack_logits(variables, jax.lax.stop_gradient(x))

    return network._replace(attack_logits=without)
  return network


def _targets(labels: Array, indices: Array, classes: int, seed: int) -> Array:
  """A random other class for each image, from its index and the seed."""
  key = jax.random.fold_in(settings.key(seed), 1)
  keys = pgd.image_keys(key, jnp.asarray(indices))
  return np.asarray(pgd.random_targets(jnp.asarray(labels), classes, keys))


def _attacks(
  programs: Programs, eps: float, say: Callable[[str], None]
) -> dict[str, Found]:
  """PGD to targets, Auto-PGD on its losses, and Square."""
  made = {"pgd-target": programs.walk("target", eps, programs.effort.steps)["adv"]}
  for loss in ("ce", "margin", "scaled"):
    say(f"Auto-PGD: {loss}")
    made[f"apgd-{loss}"] = programs.apgd(loss, eps)
  made["apgd-rounded"] = programs.apgd("ce", eps, rounded=True)
  say(f"Square: {programs.effort.queries} queries")
  made["square"] = programs.square(eps)
  return {name: programs.judged(adv) for name, adv in made.items()}


def _called(other: Network, network: Network) -> str:
  """The name of another network, or of the other branch of the same."""
  branch = "" if other.branch == "all" else f"branch {other.branch}"
  if branch and other.name == network.name:
    return branch
  return f"{other.name}, {branch}" if branch else other.name


def ask(programs: Programs, seed: int) -> Answers:
  """The images' logits, and those in another order, in other company, and again."""
  images = programs.rows["image"]
  count = len(images)
  logits = programs.logits(images)
  order = np.random.default_rng(seed).permutation(count)
  permuted = programs.logits(images[order])[np.argsort(order)]
  # In batches of half as many: a blank image after each.
  company = np.zeros((2 * count, *images.shape[1:]), images.dtype)
  company[::2] = images
  split = programs.logits(company)[::2]
  attacked = programs.attacked_logits(images)
  passes = {"permuted": permuted, "split": split, "attacked": attacked}
  passes |= {f"repeat {i + 1}": programs.logits(images) for i in range(REPEATS)}
  return Answers(programs.rows["index"], logits, passes)


def _single_steps(programs: Programs, eps: float) -> dict[float, Found]:
  """Shares of a single step of eps."""
  walks = {
    part: programs.walk("ce", eps, 1, part * eps, clean_start=True)
    for part in (*PARTS, 1.0)
  }
  return {part: programs.judged(walk["last"]) for part, walk in walks.items()}
