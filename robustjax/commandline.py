"""The command line: flags to a checked configuration, mistakes to one clear line."""

import difflib
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import ml_collections
from absl import flags
from ml_collections import config_flags

from robustjax import config as configs
from robustjax import workdir as workdirs
from robustjax.errors import UserError


class Arguments(NamedTuple):
  """What the command line said."""

  config: ml_collections.ConfigDict
  workdir: Path


def parse() -> Arguments:
  """Reads the flags of `sys.argv`, which is where config_flags looks for overrides.

  Returns:
    The configuration, checked and frozen, and the workdir.

  Raises:
    UserError: an unknown flag, name or variant, a missing file, a wrong type.
  """
  argv = sys.argv
  _check_file(argv)
  values = flags.FlagValues()
  config_flags.DEFINE_config_file(
    "config",
    help_string="An experiment file, and after a colon its variants:"
    " experiments/mbn_alp.py:mini. --config.section.name=value overrides any value.",
    lock_config=True,
    flag_values=values,
  )
  flags.DEFINE_string("workdir", None, "Where the run's files go.", flag_values=values)
  try:
    rest = values(argv)[1:]
  except flags.Error as error:
    raise UserError(_one_line(error)) from error
  except (AttributeError, KeyError) as error:  # how config_flags says "no such name"
    raise UserError(_unknown_name(argv)) from error
  if rest:
    raise UserError(f"{rest[0]!r} is not a flag: write --config=FILE --workdir=DIR")
  flags.FLAGS.mark_as_parsed()  # Grain's workers ask for it
  configs.check(values.config)
  config = ml_collections.FrozenConfigDict(values.config)
  return Arguments(config, Path(values.workdir or workdirs.default(config)))


def usage() -> str:
  """What --help prints."""
  files = "\n".join(f"  {path}" for path in _experiments())
  return (
    "python -m robustjax.main --config=FILE[:VARIANTS] [--workdir=DIR]"
    " [--config.section.name=value ...]\n\n"
    f"FILE is an experiment:\n{files}\n\nVARIANTS, with commas between them:\n"
    + "\n".join(f"  {name}: {what}" for name, what in configs.VARIANTS.items())
  )


def _experiments() -> list[str]:
  return sorted(str(path) for path in Path("experiments").glob("*.py"))


def _check_file(argv: Sequence[str]) -> None:
  """Names a missing file, which config_flags would report in many lines or none."""
  files = [value for name, value in _flags(argv) if name == "config"]
  have = _experiments()
  hint = f": --config=FILE, one of {', '.join(have)}" if have else ": --config=FILE.py"
  if not files:
    raise UserError(f"no configuration is given{hint}")
  path = files[-1].partition(":")[0]
  if not Path(path).is_file():
    near = difflib.get_close_matches(path, have, 1, 0.4)
    raise UserError(
      f"there is no file {path!r}" + (f"; did you mean {near[0]}?" if near else hint)
    )


def _flags(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
  for word, following in itertools.pairwise([*argv[1:], ""]):
    name, equals, value = word.lstrip("-").partition("=")
    if word.startswith("-"):
      yield name, value if equals else following


def _unknown_name(argv: Sequence[str]) -> str:
  for name, _ in _flags(argv):
    short = name.removeprefix("config.")
    if name.startswith("config.") and short not in configs.DEFAULTS:
      return f"{name} does not exist{configs.nearest(short, configs.DEFAULTS)}"
  return "a --config.section.name does not exist"


def _one_line(error: Exception) -> str:
  return " ".join(str(error).split())
