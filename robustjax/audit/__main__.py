"""Audits a network for gradient masking: whether its accuracy under attack is real.

robustjax audit runs/mbn_alp-mini --branch=adv
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging

from robustjax.audit import written
from robustjax.audit.audit import Audit, audit
from robustjax.data import sample
from robustjax.errors import Parser, UserError, ended
from robustjax.evaluate.subject import Subject, add_images, eps_of, open_subject, wanted
from robustjax.evaluation.network import Network
from robustjax.report import drawing
from robustjax.run.commandline import above, at_least, path, writable
from robustjax.runtime import files, log, parallel, settings

AUDITS = "audits"  # of a run's folder
IMAGES = 128  # enough for a share of 0.02 to be more than two


def parser() -> Parser:
  """The flags."""
  made = Parser(
    "robustjax audit",
    description="Says of a network's robustness: clean, suspicious or masked; and"
    " writes audit.json and audit.png with every check that says so.",
    epilog="Exit status: 0 complete, whatever the verdict; 2 a mistake; 1 a bug.",
  )
  add = made.add_argument
  add("what", metavar="WHAT", help="the folder of a run, a file of weights, shipped,"
    " which is the network of the package, or package.module:function, which returns a"
    " function of images [n, h, w, c] in 0..255 to logits")  # fmt: skip
  add("--branch", help="clean or adv; adv by default")
  add("--other", metavar="WHAT", help="another network, whose adversarial images are"
    " tried on this one too, as those of its own other branch are")  # fmt: skip
  add("--norm", choices=("linf", "l2"), default="linf", help="%(default)s")
  add("--eps", type=above(0), help="of 255; a run's own by default")
  add("--images", type=at_least(1), default=IMAGES, help="how many; %(default)s")
  add("--seed", type=at_least(0), default=0, help="%(default)s")
  add("--out", type=path, metavar="DIR", help="by default RUN/audits/BRANCH")
  add_images(made)
  return made


def run(args: argparse.Namespace) -> Audit:
  """Everything between the flags and the files in --out.

  Raises:
    UserError: a mistake, in one line.
  """
  mesh = parallel.mesh(jax.local_devices())
  subject = open_subject(args.what, wanted(args), mesh)
  network = subject.branch(args.branch)
  eps = eps_of(args, subject)
  out = writable(args.out or subject.folder / AUDITS / network.branch)
  others = _others(args, subject, network, mesh)
  source = subject.images.source
  count = min(args.images, len(source))
  images = subject.images.read(sample.indices(source, count))
  log.complain(f"{count} images, eps {eps:g}; every program compiles first")
  with log.stages() as say:
    found = audit(
      network,
      others,
      images["image"],
      images["label"],
      images["index"],
      eps=eps,
      norm=args.norm,
      seed=args.seed,
      identity=dict(subject.data)
      | ({} if subject.step is None else {"step": subject.step}),
      targeted=targeted_alone(subject.folder),
      no_others="it has no other branch: name another network with --other",
      mesh=mesh,
      say=say,
    )
  paths = written.write(found, out, source.class_names)
  log.say(f"\n{written.table(found.result)}\n\n" + "\n".join(map(str, paths)))
  return found


def _others(
  args: argparse.Namespace,
  subject: Subject,
  network: Network,
  mesh: Any,
) -> list[Network]:
  """The network's other branches, and those of --other.

  Raises:
    UserError: --other takes images of another shape.
  """
  own = [one for one in subject.networks.values() if one.branch != network.branch]
  if not args.other:
    return own
  other = open_subject(args.other, wanted(args), mesh)
  if other.shape != subject.shape:
    raise UserError(
      f"{args.other} takes images of {list(other.shape)} and {args.what} of"
      f" {list(subject.shape)}: --other must be a network for the same images"
    )
  # A run is called by its setting, and two may have the same.
  return [*own, *(one._replace(name=args.other) for one in other.networks.values())]


def targeted_alone(run: Path) -> bool:
  """Whether all that a run has read of its robustness is against random targets."""
  path = run / "evaluation.json"
  if not path.exists() or any(run.glob("evaluations/*/summary.json")):
    return False
  return not files.read_json(path).get("adaptive")


@settings.ours()
@drawing.plain()
def main(argv: Sequence[str] | None = None) -> int:
  """The command line; returns the exit status."""
  logging.set_verbosity(logging.FATAL)  # libraries' chatter; what matters is raised
  return ended(lambda: run(parser().parse_args(argv)))


if __name__ == "__main__":
  sys.exit(main())
