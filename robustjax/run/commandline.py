"""Command lines: a run's flags to its configuration, and what other commands share."""

import argparse
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from absl import flags

from robustjax.config import Config
from robustjax.config import flags as config_flags
from robustjax.errors import UserError
from robustjax.run import workdir as workdirs
from robustjax.runtime.paths import typed as path

_WAIT = 120  # seconds for all processes to come


class Arguments(NamedTuple):
  """What the command line said.

  Attributes:
    config: checked and frozen.
    workdir: where the run's files go.
    coordinator: "host:port" of process 0, if there are several.
    processes: how many there are.
    process: which one this is.
    wait: seconds within which all must come.
    profile: how many steps of training are traced.
  """

  config: Config
  workdir: Path
  coordinator: str | None
  processes: int | None
  process: int | None
  wait: int
  profile: int


def parse() -> Arguments:
  """Reads the flags of `sys.argv`.

  Returns:
    The configuration, the workdir, and which of several processes this one is.

  Raises:
    UserError: an unknown flag, name or variant, a missing file, a wrong type.
  """
  values = defined()
  config = config_flags.parse(values)
  workdir = path(values.workdir or str(workdirs.default(config)))
  hosts = values.coordinator, values.processes, values.process, values.wait
  return Arguments(config, workdir, *hosts, values.profile)


def defined() -> flags.FlagValues:
  """The flags of a run, but for those of its configuration."""
  values = flags.FlagValues()
  flags.DEFINE_string("workdir", None, "Where the run's files go.", flag_values=values)
  what = "How many steps of training are traced, for TensorBoard and Perfetto."
  flags.DEFINE_integer("profile", 0, what, lower_bound=0, flag_values=values)
  _define_hosts(values)
  return values


def _define_hosts(values: flags.FlagValues) -> None:
  what = "HOST:PORT of process 0, where several processes meet."
  flags.DEFINE_string("coordinator", None, what, flag_values=values)
  for name, low, default, what in (
    ("processes", 1, None, "How many processes make up the run."),
    ("process", 0, None, "Which of them this one is, from 0."),
    ("wait", 1, _WAIT, "Seconds until a process that waits for another gives up."),
  ):
    flags.DEFINE_integer(name, default, what, lower_bound=low, flag_values=values)


def usage() -> str:
  """What --help prints."""
  return (
    "usage: robustjax train SETTING[:VARIANTS] [--workdir=DIR]\n"
    "                       [--config.section.name=value ...]\n"
    "                       [--coordinator=HOST:PORT --processes=N --process=I]\n"
    "                       [--wait=SECONDS] [--profile=STEPS]\n"
    "       python -m robustjax.main --config=SETTING[:VARIANTS] ...\n\n"
    "Trains and evaluates, or goes on with what was begun in DIR, which is\n"
    "runs/<setting>-<scale> by default. robustjax config SETTING[:VARIANTS] prints\n"
    "every value with its unit and source.\n"
    "Several hosts: the same command on each, with --process=0 on HOST; on Cloud TPU,\n"
    "Slurm, GKE and Open MPI without these flags. DIR is on a file system that all\n"
    f"of them share. One that is missing is waited for, {_WAIT} s by default.\n"
    "--profile traces so many steps, from the second on, into DIR/tensorboard.\n"
    "Exit status: 0 complete, 2 a mistake, 143 stopped by a signal, 1 a bug or a\n"
    "process that did not come or was lost.\n\n" + config_flags.usage()
  )


def add_hosts(parser: argparse.ArgumentParser) -> None:
  """The flags that say which of several processes this one is."""
  add = parser.add_argument
  add("--coordinator", metavar="HOST:PORT", help="of several processes")
  add("--processes", type=at_least(1), help="how many there are")
  add("--process", type=at_least(0), help="which one this is")
  add("--wait", type=at_least(1), default=_WAIT, help="%(default)s s")


def at_least(low: int) -> Callable[[str], int]:
  """The type of a flag that is a whole number from `low` up."""

  def number(text: str) -> int:
    if not text.isdigit() or int(text) < low:
      raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} up")
    return int(text)

  return number


def above(low: float) -> Callable[[str], float]:
  """The type of a flag that is a number above `low`."""

  def number(text: str) -> float:
    try:
      value = float(text)
    except ValueError:
      value = low
    if not low < value < float("inf"):
      raise argparse.ArgumentTypeError(f"{text!r} is not a number above {low:g}")
    return value

  return number


def writable(path: Path) -> Path:
  """Makes a folder, and finds now that it cannot be written to.

  Raises:
    UserError: it cannot.
  """
  with contextlib.suppress(OSError):
    path.mkdir(parents=True, exist_ok=True)
  if not (path.is_dir() and os.access(path, os.W_OK)):
    raise UserError(f"{path} cannot be written to: name another folder with --out")
  return path
