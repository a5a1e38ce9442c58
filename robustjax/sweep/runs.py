"""The runs that a sweep is asked for: from words to folders, without two alike."""

import ast
import dataclasses
import hashlib
import itertools
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robustjax.errors import UserError
from robustjax.runtime.paths import typed

# The words that every experiment shares, in the order that robustjax.config names a
# setting by; an experiment's own words stand before them.
COMMON_WORDS = ("star", "pgd20", "pgd10", "pgd5", "eps8", "float32")

LONGEST_NAME = 120  # characters; a folder's name may have 255 bytes

OVERRIDE = re.compile(r"--config\.([\w.]+)=(.*)", re.DOTALL)
NAME = re.compile(r"\w[\w.=,+-]*", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Run:
  """One run of the list.

  Attributes:
    file: of the experiment.
    words: of its variant, "mini" among them at mini scale.
    overrides: "--config.section.name=value", as they were given.
    name: unique in the sweep; its log is called so, and by default its folder.
    workdir: its folder.
  """

  file: Path
  words: tuple[str, ...]
  overrides: tuple[str, ...]
  name: str
  workdir: Path

  @property
  def flags(self) -> tuple[str, ...]:
    """What main is given."""
    config = ":".join(filter(None, (str(self.file), ",".join(self.words))))
    return (f"--config={config}", f"--workdir={self.workdir}", *self.overrides)

  @property
  def values(self) -> dict[str, Any]:
    """Dotted name -> value of the overrides; the last of one name holds."""
    return {name: _value(text) for name, text in map(_split, self.overrides)}


def setting_of(file: Path, words: Sequence[str]) -> tuple[str, str]:
  """The setting and the scale of an experiment's variant, as main names them."""

  def rank(word: str) -> int:
    return COMMON_WORDS.index(word) + 1 if word in COMMON_WORDS else 0

  ordered = sorted((word for word in words if word != "mini"), key=rank)
  return "_".join([file.stem, *ordered]), "mini" if "mini" in words else "paper"


def run_of(words: Sequence[str], shared: Sequence[str], runs: Path) -> Run:
  """Reads one line of a list.

  Args:
    words: the setting, such as "adv:mini" or "mine/own.py:mini", then overrides,
      --name=NAME and --workdir=DIR.
    shared: overrides for all runs.
    runs: the folder of the runs' folders.

  Returns:
    The run. Its name is <setting>-<scale>, or NAME, and the overrides behind it.

  Raises:
    UserError: a word that is none of these, or a name that cannot be a folder's.
  """
  setting, *rest = words
  path, _, variant = setting.partition(":")
  file = Path(path)
  chosen = tuple(dict.fromkeys(filter(None, map(str.strip, variant.split(",")))))
  own: list[str] = []
  named = {"--name": "", "--workdir": ""}
  for word in rest:
    flag, _, value = word.partition("=")
    if flag in named and value:
      named[flag] = value
    elif _split(word):
      own.append(word)
  base = named["--name"] or "-".join(setting_of(file, chosen))
  in_name = [*([] if named["--name"] else own), *shared]
  name = _name(base, in_name)
  workdir = typed(named["--workdir"]) if named["--workdir"] else runs / name
  return Run(file, chosen, (*own, *shared), name, workdir)


def read_list(path: Path) -> list[list[str]]:
  """The words of each line that is not empty or a comment.

  Raises:
    UserError: the file cannot be read, or a quotation mark is not closed.
  """
  try:
    lines = path.read_text().splitlines()
  except (OSError, UnicodeDecodeError) as error:
    reason = getattr(error, "strerror", None) or "it is not text"
    raise UserError(f"--list={path} cannot be read: {reason}") from error
  found = []
  for number, line in enumerate(lines, 1):
    try:
      found.append(shlex.split(line, comments=True))
    except ValueError as error:
      raise UserError(f"{path}:{number}: {error}") from error
  return [words for words in found if words]


def check(runs: Sequence[Run]) -> None:
  """Refuses runs that are the same, or that would share a folder or a log."""
  for one, other in itertools.combinations(runs, 2):
    if (one.file, set(one.words), one.values) == (
      other.file, set(other.words), other.values,
    ):  # fmt: skip
      raise UserError(f"this run is in the list twice: {shlex.join(other.flags)}")
    if one.workdir.resolve() == other.workdir.resolve() or one.name == other.name:
      raise UserError(
        f"two runs have one folder or one log, {other.workdir} and {other.name}.log:"
        " give one a --name=NAME of its own in a --list"
      )


def _split(override: str) -> tuple[str, str]:
  found = OVERRIDE.fullmatch(override)
  if not found:
    raise UserError(
      f"{override!r} is not known: a run takes --config.section.name=value, and in a"
      " --list also --name=NAME and --workdir=DIR"
    )
  return found[1], found[2]


def _value(text: str) -> Any:
  """An override's value as config.json would hold it, as far as one can tell."""
  try:
    return json.loads(json.dumps(ast.literal_eval(text)))
  except (ValueError, SyntaxError, TypeError):
    return {"true": True, "false": False}.get(text.lower(), text)


def _name(base: str, overrides: Sequence[str]) -> str:
  pairs = (f"{name}={value}" for name, value in map(_split, overrides))
  # Parentheses and quotation marks go; what else a shell would trip over is a _.
  parts = [re.sub(r"[^\w.=,+-]", "_", re.sub(r"[()'\"\s]", "", p)) for p in pairs]
  name = "-".join([base, *parts])
  if len(name) > LONGEST_NAME:
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    name = f"{name[: LONGEST_NAME - 9]}-{digest}"
  if not NAME.fullmatch(name) or name == "logs":
    raise UserError(
      f"{name!r} cannot be the name of a run's folder: give another --name"
    )
  return name
