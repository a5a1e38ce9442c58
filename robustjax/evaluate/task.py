"""What a command line asks for, once its network and images are open."""

import argparse
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from robustjax.attacks.balls import Ball
from robustjax.errors import UserError
from robustjax.evaluate import acceptance, picture, readings, words
from robustjax.evaluate.cards import Card
from robustjax.evaluate.clean import Reader
from robustjax.evaluate.subject import Subject
from robustjax.evaluation import compiled, identity, suite
from robustjax.evaluation.ledger import IMAGES
from robustjax.evaluation.network import Network
from robustjax.evaluation.robustness import images_a_device
from robustjax.hosts.processes import Hosts
from robustjax.run import robustness
from robustjax.runtime import log, parallel
from robustjax.runtime.preemption import Stop


@dataclasses.dataclass(frozen=True)
class Task:
  """An evaluation of some branches of a network, each attacked or read.

  Attributes:
    args: the flags, completed by `complete`.
    subject: the network and its images.
    indices: of the images.
    eps: of 255.
    mesh: the devices.
    hosts: the processes.
    stop: asked in every loop.
  """

  args: argparse.Namespace
  subject: Subject
  indices: Sequence[int]
  eps: float
  mesh: Any
  hosts: Hosts
  stop: Stop

  @property
  def pairs(self) -> list[tuple[Network, Network]]:
    """The branches that are read, each with those that are attacked."""
    args, subject = self.args, self.subject
    names = (args.branch or "").split(",")
    read = [subject.branch(name.strip() or None) for name in names]
    if args.attack_branch is None:
      return [(network, network) for network in read]
    attacked = [subject.branch(name.strip()) for name in args.attack_branch.split(",")]
    return list(itertools.product(read, attacked))

  def readings(self) -> Iterator[dict[str, Any]]:
    """Reads every branch by the paper's protocol; yields what readings.json holds."""
    args, subject = self.args, self.subject
    own = None if args.card else subject.step_size  # a card's numbers are of FD's
    step_size = args.step_size or own or readings.STEP_SIZE
    pairs, made = self.pairs, None
    for network, _ in pairs:
      made = made or readings.make(
        network, subject.shape, args.steps, self.eps, step_size, self.mesh
      )
      out, found = readings.read(network, made, **self._common(len(pairs)))
      if self.hosts.leads:
        readings.show(out, found)
      yield found

  def attacks(self) -> list[dict[str, Any]]:
    """Attacks every branch; returns what the summary.json of each holds."""
    args, pairs, summaries, made = self.args, self.pairs, [], {}
    for network, attacked in pairs:
      transfer = network.branch != attacked.branch
      if transfer not in made:  # the branches of a network share their programs
        attacks = named(args, self.eps, transfer)
        shape = self.subject.shape
        made[transfer] = compiled.programs(attacked, attacks, shape, self.mesh)
      out, summary = robustness.evaluate(
        network,
        attacked,
        made[transfer],
        attack=args.attack,
        save_images=args.save_images,
        **self._common(len(pairs)),
      )
      summaries.append(summary)
      if self.hosts.leads:
        drawn = picture.draw(out, summary)
        table = words.table(summary)
        log.say(f"\n{table}\n\nLedger: {out / IMAGES}\nPicture: {drawn}\n")
    if self.hosts.leads and len(pairs) > 1:
      log.say(words.matrix(summaries))
    return summaries

  def acceptance(self, card: Card) -> acceptance.Acceptance:
    """Reads the clean images beside a card, and what is to be compared further.

    Raises:
      UserError: the clean accuracy is another one.
    """
    args, subject, indices = self.args, self.subject, self.indices
    ((network, _),) = self.pairs
    reader = Reader(
      network,
      subject.shape[2],
      self._batch_size,
      self.mesh,
      self.stop,
      self.hosts.leads,
    )
    whole = bool(args.ids) or len(indices) == len(subject.images.source)
    made = acceptance.Acceptance(
      card,
      self.eps,
      whole and len(indices) == card.images,
      identity.subject(network, network, indices, subject.data, subject.step),
      (args.out or subject.folder) / acceptance.FILE,
      self.hosts.leads,
    )
    made.clean(reader, subject, indices, args.suspect_images)
    return made

  @property
  def _batch_size(self) -> int:
    """Images a device."""
    platform = parallel.platform(self.mesh.devices.flat[0])
    return self.args.batch_size or images_a_device(platform)

  def _common(self, pairs: int) -> dict[str, Any]:
    """What both kinds of evaluation take."""
    args, subject = self.args, self.subject
    several = pairs > 1 or args.card  # below --out, each in a folder of its own
    return {
      "images": subject.images,
      "indices": self.indices,
      "data": subject.data,
      "step": subject.step,
      "seed": args.seed,
      "batch_size": self._batch_size,
      "mesh": self.mesh,
      "folder": (args.out if several else None) or subject.folder,
      "out": None if several else args.out,
      "hosts": self.hosts,
      "stop": self.stop,
    }


def complete(args: argparse.Namespace, card: Card | None) -> None:
  """Fills in what a card says, and refuses what does not go together.

  Raises:
    UserError: one line with the flag that is too many, or the name that is wrong.
  """
  if card:
    if args.norm != "linf" or args.attack_branch or "," in (args.branch or ""):
      raise UserError("--card is for L-infinity and one branch, attacked itself")
    args.attack = args.attack or card.attack
    args.eps = args.eps or card.eps
    args.images = args.images or (None if args.ids else card.images)
    if args.attack == card.attack:
      args.steps = args.steps or card.steps
  args.attack = args.attack or "standard"
  args.steps = args.steps or (suite.Options().steps,)
  if readings.NAME not in [name.strip() for name in args.attack.split(",")]:
    if len(args.steps) > 1:
      raise UserError(f"several --steps are for --attack={readings.NAME}: name one")
    named(args, 1.0)
    return
  of_others = ("restarts", "queries", "targets", "loss", "iterate")
  default = suite.Options()
  given = [n for n in of_others if getattr(args, n) != getattr(default, n, "best")]
  given += [n for n in ("attack_branch", "save_images") if getattr(args, n)]
  if args.attack != readings.NAME or args.norm != "linf" or given:
    raise UserError(
      f"{readings.NAME} is read alone, in L-infinity, by --steps, --step_size and"
      f" --seed: leave {', '.join(f'--{n}' for n in given) or 'the rest'} out"
    )


def named(
  args: argparse.Namespace, eps: float, transfer: bool = False
) -> tuple[suite.Attack, ...]:
  """The attacks that the flags name."""
  options = suite.Options(
    args.steps[0], args.restarts, args.queries, args.targets, args.step_size, args.loss,
    args.iterate == "last",
  )  # fmt: skip
  return suite.named(args.attack, Ball(args.norm, eps), options, transfer)
