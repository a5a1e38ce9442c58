"""Weights of other projects, and of ours, in and out.

robustjax weights import R152.npz --out=runs/R152
robustjax weights export runs/R152 --to=safetensors --needs_code --out=R152.safetensors
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, get_args

import jax
from absl import logging

from robustjax import config as configs
from robustjax.config import Config
from robustjax.errors import MISTAKE, Parser, UserError
from robustjax.run.commandline import above, at_least
from robustjax.runtime import log, parallel
from robustjax.runtime.paths import typed as path
from robustjax.weights import exported, imported, opened, pytorch, recognise, words
from robustjax.weights.imported import Said


def _of_one(text: str) -> tuple[float, ...]:
  """Numbers of 0..1 with commas between them, as numbers of 0..255."""
  try:
    found = tuple(float(word) for word in text.split(","))
  except ValueError:
    found = ()
  if not found or not all(0 <= x <= 1 for x in found):
    raise argparse.ArgumentTypeError(
      f"{text!r} is not one number of 0..1 a channel, as 0.485,0.456,0.406"
    )
  return tuple(round(255 * x, 6) for x in found)


def _side(text: str) -> int:
  return -1 if text == "-1" else at_least(1)(text)


# Flag -> what it says of the configuration, its type or choices, and in words.
_FLAGS: dict[str, tuple[str, Callable[[str], Any] | tuple[str, ...], str]] = {
  "mean": ("model.input_mean", _of_one, "subtracted from pixels of 0..1"),
  "std": ("model.input_std", _of_one, "that they are divided by then"),
  "activation": ("model.activation", ("relu", "gelu"), "of all blocks"),
  "padding": ("model.padding", ("SAME", "symmetric"), "TensorFlow's or PyTorch's"),
  "size": ("data.image_size", at_least(1), "side of the images, in pixels"),
  "resize": ("data.resize", _side, "shorter side before the crop; -1 for none"),
  "interpolation": ("data.interpolation", ("opencv", "pillow", "bilinear"), "of that"),
  "orientation": ("data.orientation", ("exif", "stored"), "whether EXIF's is applied"),
  "eps": ("eval.eps", above(0), "of 255, of evaluations that name no other"),
}


def parser() -> Parser:
  """The flags."""
  made = Parser(
    "robustjax weights",
    description="Makes a run of a file of weights, or a file of a run.",
  )
  commands = made.add_subparsers(dest="command", required=True)
  take = commands.add_parser("import", help="a run of a file",
    description="Makes DIR a run of the weights in FILE: for robustjax.evaluate,"
    " .audit, .inspect, .report, .weights export, --config.init.run=DIR.")  # fmt: skip
  add = take.add_argument
  add("file", type=path, metavar="FILE", help="of PyTorch's (.pt, .pth, .ckpt, ...),"
    " safetensors, FD's .npz, or shipped, the network of the package")  # fmt: skip
  add("--out", type=path, metavar="DIR", required=True, help="the folder of the run")
  add("--kind", choices=get_args(recognise.Kind), help="where it is from")
  add("--channel_order", choices=("rgb", "bgr"), help="that the first layer sees")
  add("--part", help="of a file with several networks, the names' beginning")
  for flag, (_, kind, what) in _FLAGS.items():
    if isinstance(kind, tuple):
      add(f"--{flag}", choices=kind, help=what)
    else:
      add(f"--{flag}", type=kind, help=what)
  give = commands.add_parser("export", help="a file of a run",
    description="Writes a branch of a run, and prints the Python code that reads it."
    )  # fmt: skip
  add = give.add_argument
  add("run", type=path, metavar="RUN", help="the folder of a run, or a file of weights")
  add("--branch", help="clean or adv of Mixture BN; adv by default")
  add("--to", choices=exported.FORMS, required=True, help="torchvision: .pth of its"
    " ResNet; safetensors: the same names, for any network; fd: FD's npz; robustjax:"
    " all branches, as import and the other commands take them")  # fmt: skip
  add("--out", type=path, metavar="FILE", required=True, help="where there is none yet")
  add("--needs_code", action="store_true", help="also a network that torchvision's"
    " class computes otherwise without the code that is printed")  # fmt: skip
  return made


def take(args: argparse.Namespace) -> None:
  """Imports a file.

  Raises:
    UserError: a mistake, in one line.
  """
  given = {name: getattr(args, name) for name in ("kind", "channel_order", "part")}
  wanted = {name: value for name, value in given.items() if value is not None}
  values = {
    name: (value, f"the flag --{flag}")
    for flag, (name, _, _) in _FLAGS.items()
    if (value := getattr(args, flag)) is not None
  }
  found = imported.read(opened.located(args.file), Said(wanted, values))
  log.say(words.table(found))
  new = imported.write(found, args.out)
  log.say(f"\n{args.out} " + ("is a run now." if new else "is this run already."))


def give(args: argparse.Namespace) -> None:
  """Exports a run.

  Raises:
    UserError: a mistake, in one line.
  """
  mesh = parallel.mesh(jax.local_devices()[:1])
  config, load = opened.opened(args.run)
  named = exported.arrays(config, jax.device_get(load(mesh)[0]), args.branch, args.to)
  if args.to in ("torchvision", "safetensors") and not args.needs_code:
    for what in pytorch.differences(config):
      raise UserError(
        f"torchvision's class {what}: its logits would be others. --needs_code writes"
        f" the file {pytorch.remedy(config)}"
      )
  exported.write(config, named, args.to, args.out)
  log.complain(f"{args.out}: {len(named)} arrays")
  if args.to == "fd":
    _say_forgotten(config)
  print(pytorch.code(config, args.to, args.out.name), end="")


def _say_forgotten(config: Config) -> None:
  """Says what FD's form has no place for, where an import assumes something else."""
  flat = configs.flatten(config)
  assumed = {**recognise.FD_IMAGES, "eval.eps": configs.DEFAULTS["eval.eps"].value}
  lost = {
    flag: (flat[name], assumed[name])
    for flag, (name, _, _) in _FLAGS.items()
    if name in assumed and flat[name] != assumed[name]
  }
  if lost:
    theirs = ", ".join(f"{flag} {value}" for flag, (_, value) in lost.items())
    ours = " ".join(f"--{flag}={value}" for flag, (value, _) in lost.items())
    log.complain(
      "FD's form has no place for an evaluation's images and eps: an import assumes"
      f" {theirs}, so import it with {ours}"
    )


def main(argv: Sequence[str] | None = None) -> int:
  """The command line; returns the exit status."""
  logging.set_verbosity(logging.FATAL)  # libraries' chatter; what matters is raised
  try:
    args = parser().parse_args(argv)
    (take if args.command == "import" else give)(args)
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    return MISTAKE
  return 0


if __name__ == "__main__":
  sys.exit(main())
