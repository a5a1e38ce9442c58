"""Looks into a run: the statistics of its norm layers, and images with their attacks.

robustjax inspect runs/mbn_alp-mini
"""

import argparse
import sys
from collections.abc import Sequence

import jax
from absl import logging

from robustjax.config import Config
from robustjax.errors import Parser, UserError, ended
from robustjax.inspect import inspection, norms
from robustjax.inspect.choice import Choice
from robustjax.report import drawing
from robustjax.run import saved, workdir
from robustjax.run.commandline import at_least, path, writable
from robustjax.run.data import open_data
from robustjax.runtime import log, parallel, settings


def parser() -> Parser:
  """The flags."""
  made = Parser(
    "robustjax inspect",
    description="Writes statistics.json (running and batch statistics of a norm layer)"
    " and examples.npz (images and their adversarial ones), and a picture of each.",
  )
  add = made.add_argument
  add("run", type=path, metavar="RUN", help="the folder of a run")
  add("--step", type=at_least(0), help="of the checkpoint; the latest by default")
  add(
    "--layer",
    default=Choice.layer,
    help="by default the middle one of the second stage",
  )
  add("--layers", action="store_true", help="list the layers, and nothing else")
  add(
    "--channels",
    type=at_least(1),
    default=Choice.channels,
    help="how many; %(default)s",
  )
  add(
    "--images",
    type=at_least(1),
    default=Choice.images,
    help="how many; %(default)s",
  )
  most = "steps against the images; by default the most that the evaluation reads"
  add(
    "--pgd",
    type=at_least(1),
    default=Choice.steps,
    metavar="STEPS",
    help=most,
  )
  add(
    "--seed",
    type=at_least(0),
    default=Choice.seed,
    help="%(default)s by default",
  )
  add("--out", type=path, metavar="DIR", help="instead of RUN")
  return made


def run(args: argparse.Namespace) -> None:
  """What the command line asks for.

  Raises:
    UserError: a mistake, in one line.
  """
  config = saved.read_config(args.run)
  if args.layers:
    _list_layers(config)
    return
  if not config.eval.eps:
    raise UserError(f"{args.run} does not say how far attacks go: import it with --eps")
  with workdir.at_rest(args.run):
    mesh = parallel.mesh(jax.local_devices()[:1])
    state = saved.restore(config, args.run, mesh, args.step)
  data = open_data(config)
  out = writable(args.out or args.run)
  choice = Choice(args.layer, args.channels, args.seed, args.images, args.pgd)
  written = inspection.inspect(config, out, data, state, choice)
  if not norms.keeps_statistics(config):
    log.say(f"There is no statistics.json: {norms.NO_STATISTICS}.")
  log.say("\n".join(map(str, written)))


def _list_layers(config: Config) -> None:
  names = norms.layers_of(config)
  if not names:
    log.say(f"There are no layers to look at: {norms.NO_STATISTICS}.")
    return
  default = norms.default_layer(list(names))
  for name, channels in names.items():
    log.say(f"{name}  {channels} channels" + ("  (default)" * (name == default)))


@settings.ours()
@drawing.plain()
def main(argv: Sequence[str] | None = None) -> int:
  """The command line; returns the exit status."""
  logging.set_verbosity(logging.FATAL)  # libraries' chatter; what matters is raised
  return ended(lambda: run(parser().parse_args(argv)))


if __name__ == "__main__":
  sys.exit(main())
