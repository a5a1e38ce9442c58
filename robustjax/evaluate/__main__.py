"""Evaluates any network, image by image.

python -m robustjax.evaluate runs/mbn_alp-mini --attack=standard --branch=adv
"""

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import logging

from robustjax.attacks.balls import Ball
from robustjax.data import ids, sample
from robustjax.errors import UserError
from robustjax.evaluate import comparison, picture, robustbench, words
from robustjax.evaluate.subject import Subject, add_images, eps_of, open_subject, wanted
from robustjax.evaluation import compiled, suite
from robustjax.evaluation.ledger import IMAGES
from robustjax.evaluation.network import Network
from robustjax.evaluation.robustness import images_a_device
from robustjax.hosts import cluster
from robustjax.hosts.processes import Hosts
from robustjax.hosts.together import Together
from robustjax.report import drawing
from robustjax.run import robustness, start
from robustjax.run.commandline import Parser, above, at_least, path
from robustjax.runtime import log, parallel, preemption, settings
from robustjax.runtime.preemption import Stop


def parser() -> Parser:
  """The flags."""
  made = Parser(
    prog="python -m robustjax.evaluate",
    description="Attacks a network image by image and keeps a ledger of it.",
    epilog="python -m robustjax.evaluate --compare DIR DIR ... compares evaluations"
    " image by image. Exit status: 0 complete, 2 a mistake, 143 stopped by a signal:"
    " the same command goes on. 1 is a bug or a process that did not come or was lost.",
    allow_abbrev=False,
  )
  add = made.add_argument
  add("what", metavar="WHAT", help="the folder of a run, or package.module:function,"
    " which returns a function of images [n, h, w, c] in 0..255 to logits")  # fmt: skip
  names = ", ".join(suite.NAMES)
  add("--attack", default="standard", metavar="NAME,...",
    help=f"standard (AutoAttack: {', '.join(suite.STANDARD)}), or some of {names},"
    " each on the survivors of those before; %(default)s")  # fmt: skip
  add("--branch", help="whose predictions count: clean or adv, or both with a comma;"
    " adv by default")  # fmt: skip
  add("--attack_branch", help="which the attacks see; by default the one that is read")
  add("--norm", choices=("linf", "l2"), default="linf", help="%(default)s")
  add("--eps", type=above(0), help="of 255; a run's own by default")
  add("--images", type=at_least(1), help="how many; a run's own number by default")
  add("--ids", type=path, metavar="FILE", help="of images: an index or a name a line")
  add("--seed", type=at_least(0), default=0, help="%(default)s")
  add("--batch_size", type=at_least(1), help="images a device; 64, and on CPUs 16")
  add("--out", type=path, metavar="DIR", help="by default RUN/evaluations/...")
  add("--save_images", action="store_true", help="keep what broke them, in DIR/adv")
  add("--robustbench", type=path, metavar="FILE",
    help="write RobustBench's entry of a standard evaluation")  # fmt: skip
  options = made.add_argument_group("constants of the attacks")
  default = suite.Options()
  add = options.add_argument
  add("--steps", type=at_least(1), default=default.steps, help="%(default)s")
  add("--restarts", type=at_least(1), default=default.restarts, help="%(default)s")
  add("--queries", type=at_least(1), default=default.queries, help="%(default)s")
  add("--targets", type=at_least(1), default=default.targets, help="%(default)s")
  add("--step_size", type=above(0), help="of pgd and pgd-t; 2.5 eps / steps")
  add("--loss", choices=suite.LOSSES, help="of pgd (ce) and pgd-t (margin)")
  add("--iterate", choices=("best", "last"), default="best", help="of pgd and pgd-t")
  add_images(made)
  made.add_hosts()
  return made


@settings.ours()
@drawing.plain()
def main(argv: Sequence[str] | None = None) -> int:
  """The command line; returns the exit status."""
  logging.set_verbosity(logging.FATAL)  # libraries' chatter; what matters is raised
  given = list(sys.argv[1:] if argv is None else argv)
  parallel.a_device_a_core()
  with preemption.handed_back(__name__ == "__main__"), Together() as together:
    if given[:1] == ["--compare"]:
      log.say(comparison.text([Path(word) for word in given[1:]]))
      return 0
    args = parser().parse_args(given)
    own = cluster.member(args.coordinator, args.processes, args.process, args.wait)
    facts = start.installation() | _facts(args)
    run(args, together.meet(own, facts, args.wait))
  return together.status


def _facts(args: argparse.Namespace) -> dict[str, Any]:
  """What must be the same on every host; it is also what tells one run from another."""
  of_a_host = ("coordinator", "processes", "process", "wait", "data_dir")
  flags = {f"--{name}": v for name, v in vars(args).items() if name not in of_a_host}
  known: dict[str, Any] = json.loads(json.dumps(flags, default=str))
  return known | {"--workdir": str(args.out or args.what)}


def run(args: argparse.Namespace, hosts: Hosts) -> None:
  """Everything between the flags and the files in --out."""
  stop, mesh = Stop().listen(), parallel.mesh()
  platform = parallel.platform(mesh.devices.flat[0])
  _attacks(args, 1.0)  # a wrong name is found before anything is read
  subject = open_subject(args.what, wanted(args), mesh)
  eps = eps_of(args, subject)
  pairs = _pairs(args, subject)
  if args.robustbench:
    (network, attacked), *more = pairs
    robustbench.check(
      args.robustbench, args.attack, network.branch, attacked.branch, bool(more)
    )
  indices, summaries, made = _indices(args, subject), [], {}
  for network, attacked in pairs:
    transfer = network.branch != attacked.branch
    if transfer not in made:  # the branches of a network share their programs
      attacks = _attacks(args, eps, transfer)
      made[transfer] = compiled.programs(attacked, attacks, subject.shape, mesh)
    out, summary = robustness.evaluate(
      network,
      attacked,
      made[transfer],
      attack=args.attack,
      images=subject.images,
      indices=indices,
      data=subject.data,
      step=subject.step,
      seed=args.seed,
      batch_size=args.batch_size or images_a_device(platform),
      mesh=mesh,
      folder=(args.out if len(pairs) > 1 else None) or subject.folder,
      out=args.out if len(pairs) == 1 else None,
      save_images=args.save_images,
      hosts=hosts,
      stop=stop,
    )
    summaries.append(summary)
    if hosts.leads:
      drawn = picture.draw(out, summary)
      log.say(f"\n{words.table(summary)}\n\nLedger: {out / IMAGES}\nPicture: {drawn}\n")
  if hosts.leads and len(pairs) > 1:
    log.say(words.matrix(summaries))
  if hosts.leads and args.robustbench:
    robustbench.write(args.robustbench, summaries[0])


def _pairs(args: argparse.Namespace, subject: Subject) -> list[tuple[Network, Network]]:
  """The branches that are read, each with those that are attacked."""
  names = (args.branch or "").split(",")
  read = [subject.branch(name.strip() or None) for name in names]
  if args.attack_branch is None:
    return [(network, network) for network in read]
  attacked = [subject.branch(name.strip()) for name in args.attack_branch.split(",")]
  return list(itertools.product(read, attacked))


def _attacks(
  args: argparse.Namespace, eps: float, transfer: bool = False
) -> tuple[suite.Attack, ...]:
  options = suite.Options(
    args.steps, args.restarts, args.queries, args.targets, args.step_size, args.loss,
    args.iterate == "last",
  )  # fmt: skip
  return suite.named(args.attack, Ball(args.norm, eps), options, transfer)


def _indices(args: argparse.Namespace, subject: Subject) -> Sequence[int]:
  """The images that are asked for."""
  source = subject.images.source
  if args.ids:
    if args.images:
      raise UserError("--ids says which images: leave --images out")
    return ids.indices(args.ids, source)
  return sample.indices(source, args.images or subject.count or len(source))


if __name__ == "__main__":
  sys.exit(main())
