"""Evaluates any network, image by image.

robustjax evaluate runs/mbn_alp-mini --attack=standard --branch=adv
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import logging

from robustjax.data import ids, sample
from robustjax.errors import Parser, UserError
from robustjax.evaluate import cards, comparison, readings, robustbench
from robustjax.evaluate.subject import Subject, add_images, eps_of, open_subject, wanted
from robustjax.evaluate.task import Task, complete
from robustjax.evaluation import suite
from robustjax.hosts import cluster
from robustjax.hosts.processes import Hosts
from robustjax.hosts.together import Together
from robustjax.report import drawing
from robustjax.run import start
from robustjax.run.commandline import above, add_hosts, at_least, path
from robustjax.runtime import log, parallel, preemption, settings
from robustjax.runtime.preemption import Stop


def parser() -> Parser:
  """The flags."""
  made = Parser(
    "robustjax evaluate",
    description="Attacks a network image by image and keeps a ledger of it.",
    epilog="robustjax evaluate --compare DIR DIR ... compares evaluations"
    " image by image. Exit status: 0 complete, 2 a mistake or a card's number that is"
    " not reproduced, 143 stopped by a signal: the same command goes on. 1 is a bug or"
    " a process that did not come or was lost.",
  )
  add = made.add_argument
  add("what", metavar="WHAT", help="the folder of a run, a file of weights, shipped,"
    " which is the network of the package, or package.module:function, which returns a"
    " function of images [n, h, w, c] in 0..255 to logits")  # fmt: skip
  names = ", ".join(suite.NAMES)
  add("--attack", metavar="NAME,...",
    help=f"standard (AutoAttack: {', '.join(suite.STANDARD)}), or some of {names},"
    " each on the survivors of those before; or pgd-random alone, the paper's protocol"
    " and no measure of robustness; standard by default")  # fmt: skip
  add("--card", metavar="FILE:WORD", help="compare with what is published,"
    " attacked as there, such as published:fd_resnet152")  # fmt: skip
  add("--suspect_images", type=at_least(1), default=500, metavar="N",
    help="on how many images what may be wrong is tried, if the clean accuracy is not"
    " the card's; %(default)s")  # fmt: skip
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
  add("--steps", type=_steps, metavar="N",
    help=f"{default.steps}; pgd-random is read after several: 10,100,1000")  # fmt: skip
  add("--restarts", type=at_least(1), default=default.restarts, help="%(default)s")
  add("--queries", type=at_least(1), default=default.queries, help="%(default)s")
  add("--targets", type=at_least(1), default=default.targets, help="%(default)s")
  add(
    "--step_size",
    type=above(0),
    help="of pgd and pgd-t; 2.5 eps / steps; the least of pgd-random: a run's own or 1",
  )
  add("--loss", choices=suite.LOSSES, help="of pgd (ce) and pgd-t (margin)")
  add("--iterate", choices=("best", "last"), default="best", help="of pgd and pgd-t")
  add_images(made)
  add_hosts(made)
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
  what = path(args.what)  # of what is no folder, the results go to one of its name
  folder = what if what.is_dir() else Path("runs") / what.name.replace(":", ".")
  return known | {"--workdir": str(args.out or folder)}


def run(args: argparse.Namespace, hosts: Hosts) -> None:
  """Everything between the flags and the files in --out."""
  stop, mesh = Stop(hosts.stops).listen(), parallel.mesh()
  card = cards.load(args.card) if args.card else None
  complete(args, card)  # a wrong name is found before anything is read
  subject = open_subject(args.what, wanted(args), mesh)
  eps = eps_of(args, subject)
  indices = _indices(args, subject)
  task = Task(args, subject, indices, eps, mesh, hosts, stop)
  if args.robustbench:
    (network, attacked), *more = task.pairs
    branches = network.branch, attacked.branch
    robustbench.check(args.robustbench, args.attack, *branches, bool(more))
  accepted = task.acceptance(card) if card else None
  if args.attack == readings.NAME:
    rows = [row for found in task.readings() for row in found["rows"]]
    if accepted:
      accepted.readings(rows)
  else:
    summary, *_ = task.attacks()
    if accepted:
      accepted.suite(args.attack, summary)
    if hosts.leads and args.robustbench:
      robustbench.write(args.robustbench, summary)
  if accepted:
    accepted.finish()


def _steps(text: str) -> tuple[int, ...]:
  """Numbers of steps, with commas between them."""
  return tuple(at_least(1)(word) for word in text.split(","))


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
