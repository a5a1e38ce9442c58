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
  """

  config: ml_collections.ConfigDict
  workdir: Path
  coordinator: str | None
  processes: int | None
  process: int | None
  wait: int


def parse() -> Arguments:
  """Reads the flags of `sys.argv`, which is where config_flags looks for overrides.

  Returns:
    The configuration, the workdir, and which of several processes this one is.

  Raises:
    UserError: an unknown flag, name or variant, a missing file, a wrong type.
  """
  argv = sys.argv
  _check_file(argv)
  _check_fixed(argv)
  values = flags.FlagValues()
  config_flags.DEFINE_config_file(
    "config",
    help_string="An experiment file, and after a colon its variants:"
    " experiments/mbn_alp.py:mini. --config.section.name=value overrides any value.",
    lock_config=True,
    flag_values=values,
  )
  flags.DEFINE_string("workdir", None, "Where the run's files go.", flag_values=values)
  _define_hosts(values)
  try:
    rest = values(argv)[1:]
  except flags.Error as error:
    raise UserError(_one_line(error)) from error
  except UserError:
    raise
  except Exception as error:  # what an experiment file, or config_flags, may raise
    raise UserError(_unknown_name(argv) or _not_loaded(argv, error)) from error
  if rest:
    raise UserError(f"{rest[0]!r} is not a flag: write --config=FILE --workdir=DIR")
  flags.FLAGS.mark_as_parsed()  # Grain's workers ask for it
  if not isinstance(values.config, ml_collections.ConfigDict):
    raise UserError(f"get_config() returns {values.config!r}, not a configuration")
  config = values.config
  _check_setting(argv, config.setting)
  for name, value in config_flags.get_override_values(values["config"]).items():
    configs.change(config, name, value, configs.COMMAND_LINE)
  configs.check(config)
  config = ml_collections.FrozenConfigDict(config)
  workdir = Path(values.workdir or workdirs.default(config))
  hosts = values.coordinator, values.processes, values.process, values.wait
  return Arguments(config, workdir, *hosts)


def _define_hosts(values: flags.FlagValues) -> None:
  what = "HOST:PORT of process 0, where several processes meet."
  flags.DEFINE_string("coordinator", None, what, flag_values=values)
  for name, low, default, what in (
    ("processes", 1, None, "How many processes make up the run."),
    ("process", 0, None, "Which of them this one is, from 0."),
    ("wait", 1, _WAIT, "Seconds until a process that waits for another gives up."),
  ):
    flags.DEFINE_integer(name, default, what, lower_bound=low, flag_values=values)


def at_mini_scale() -> str:
  """This command at mini scale, for a machine without the paper's data."""
  file = [value for name, value in _flags(sys.argv) if name == "config"][-1]
  path, _, words = file.partition(":")
  variants = ",".join([*filter(None, words.split(",")), "mini"])
  return f"python -m robustjax.main --config={path}:{variants}"


def usage() -> str:
  """What --help prints."""
  files = "\n".join(f"  {path}" for path in _experiments())
  return (
    "python -m robustjax.main --config=FILE[:VARIANTS] [--workdir=DIR]\n"
    "                         [--config.section.name=value ...]\n"
    "                         [--coordinator=HOST:PORT --processes=N --process=I]\n"
    "                         [--wait=SECONDS]\n\n"
    "Trains and evaluates, or goes on with what was begun in DIR, which is\n"
    "runs/<setting>-<scale> by default. python -m robustjax.config FILE[:VARIANTS]\n"
    "prints every value with its unit and source.\n"
    "Several hosts: the same command on each, with --process=0 on HOST; on Cloud TPU,\n"
    "Slurm, GKE and Open MPI without these flags. DIR is on a file system that all\n"
    f"of them share. One that is missing is waited for, {_WAIT} s by default.\n"
    "Exit status: 0 complete, 2 a mistake, 143 stopped by a signal, 1 a bug or a\n"
    "process that did not come or was lost.\n\n"
    f"FILE is an experiment:\n{files}\n\nVARIANTS, with commas between them:\n"
    + "\n".join(f"  {name}: {word.what}" for name, word in configs.COMMON.items())
    + "\n  and what the file itself says"
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


def _check_fixed(argv: Sequence[str]) -> None:
  """Refuses to override what says something about the values."""
  for name, _ in _flags(argv):
    if name == "config.scale":
      raise UserError("--config.scale cannot be set: the word mini behind a colon does")
    if name == "config.sources":
      raise UserError("--config.sources does not exist")


def _flags(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
  for word, following in itertools.pairwise([*argv[1:], ""]):
    name, equals, value = word.lstrip("-").partition("=")
    if word.startswith("-"):
      yield name, value if equals else following


def _check_setting(argv: Sequence[str], setting: str) -> None:
  """Refuses a file that names its runs after another one.

  A copied file would otherwise pass for the setting that it was copied from.
  """
  given = dict(_flags(argv))
  stem = Path(given["config"].partition(":")[0]).stem
  if "config.setting" not in given and not f"{setting}_".startswith(f"{stem}_"):
    raise UserError(
      f"{given['config']} calls its setting {setting!r}: say config.base({stem!r},"
      " variant), since that names its runs"
    )


def _unknown_name(argv: Sequence[str]) -> str:
  for name, _ in _flags(argv):
    short = name.removeprefix("no").removeprefix("config.")
    if "config." in name and short not in configs.DEFAULTS:
      return f"--{name} does not exist{configs.nearest(short)}"
  return ""


def _not_loaded(argv: Sequence[str], error: Exception) -> str:
  file = [value for name, value in _flags(argv) if name == "config"][-1]
  return f"{file} cannot be loaded: {type(error).__name__}: {_one_line(error)}"


def _one_line(error: Exception) -> str:
  return " ".join(str(error).split())
