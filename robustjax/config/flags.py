"""A setting and its overrides in sys.argv: to a configuration or one line."""

import itertools
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import ml_collections
from absl import flags
from ml_collections import config_flags

from robustjax import config as configs
from robustjax.config import Config, shipped, variants
from robustjax.errors import UserError


def parse(values: flags.FlagValues | None = None) -> Config:
  """Reads the flags of `sys.argv`, which is where config_flags looks for overrides.

  Args:
    values: where a command has defined flags of its own; they are parsed with it.

  Returns:
    The configuration, checked and frozen.

  Raises:
    UserError: an unknown flag, name or variant, a missing file, a wrong type.
  """
  argv = _with_file(sys.argv)
  _check_fixed(argv)
  values = flags.FlagValues() if values is None else values
  config_flags.DEFINE_config_file(
    "config",
    help_string="A setting's name or file, and after a colon its variants:"
    " mbn_alp:mini. --config.section.name=value overrides any value.",
    lock_config=True,
    flag_values=values,
  )
  try:
    rest = values(_last_tuples(argv))[1:]
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
  return configs.frozen(config)


def at_mini_scale() -> str:
  """This command at mini scale, for a machine without the paper's data."""
  file = [value for name, value in _flags(sys.argv) if name == "config"][-1]
  path, _, words = file.partition(":")
  variants = ",".join([*filter(None, words.split(",")), "mini"])
  return f"python -m robustjax.main --config={path}:{variants}"


def usage() -> str:
  """The settings and the variants, for --help."""
  named = {"mini": variants.MINI_MEANS}
  named |= {name: word.what for name, word in configs.COMMON.items()}
  words = "\n".join(_indented(f"{name}: {what}") for name, what in named.items())
  return (
    "SETTING is a file of yours, or one of these that come with robustjax:\n"
    f"{_indented(', '.join(shipped.names()))}\n\nVARIANTS, with commas between them:\n"
    f"{words}\n  and what the file itself says"
  )


def _indented(text: str) -> str:
  """For a terminal of 80 columns, as what argparse prints beside it."""
  return textwrap.fill(text, 78, initial_indent="  ", subsequent_indent="    ")


def _with_file(argv: Sequence[str]) -> list[str]:
  """The words with the file that --config means.

  Raises:
    UserError: there is none, which config_flags would report in many lines or none.
  """
  known = f": --config=SETTING, one of {', '.join(shipped.names())}, or a file"
  said = [value for name, value in _flags(argv) if name == "config"]
  if not said:
    raise UserError(f"no configuration is given{known}")
  name, colon, words = said[-1].partition(":")
  file = shipped.find(name)
  if file.suffix == ".py" and "get_config" not in file.read_text(errors="replace"):
    raise UserError(f"{file} has no get_config(variant){known}")
  meant = f"--config={file}{colon}{words}"
  return [
    meant if name == "config" else word
    for (before, _), (word, name) in itertools.pairwise(map(_named, ["", *argv]))
    if before not in ("-config", "--config")  # whose value this is
  ]


def _named(word: str) -> tuple[str, str]:
  """A word, and the flag that it sets, "" if none."""
  return word, word.lstrip("-").partition("=")[0] if word.startswith("-") else ""


def _check_fixed(argv: Sequence[str]) -> None:
  """Refuses to override what says something about the values."""
  for name, _ in _flags(argv):
    if name == "config.scale":
      raise UserError("--config.scale cannot be set: the word mini behind a colon does")
    if name == "config.sources":
      raise UserError("--config.sources does not exist")


def _flags(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
  for word, following in itertools.pairwise([*argv[1:], ""]):
    if name := _named(word)[1]:
      _, equals, value = word.partition("=")
      yield name, value if equals else following


def _last_tuples(argv: Sequence[str]) -> list[str]:
  """The words without the tuples that are said again; the parser would join them."""
  said: dict[str | int, list[str]] = {}
  words = iter(argv)
  for place, word in enumerate(words):
    flag, equals, _ = word.lstrip("-").partition("=")
    default = configs.DEFAULTS.get(flag.removeprefix("config."))
    if word.startswith("-") and default and isinstance(default.value, tuple):
      said.pop(flag, None)
      said[flag] = [word, *([] if equals else itertools.islice(words, 1))]
    else:
      said[place] = [word]
  return [*itertools.chain.from_iterable(said.values())]


def _check_setting(argv: Sequence[str], setting: str) -> None:
  """Refuses a file that names its runs after another one.

  A copied file would otherwise pass for the setting that it was copied from.
  """
  options = dict(_flags(argv))
  stem = Path(options["config"].partition(":")[0]).stem
  if "config.setting" not in options and not f"{setting}_".startswith(f"{stem}_"):
    raise UserError(
      f"{options['config']} calls its setting {setting!r}: say config.base({stem!r},"
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
