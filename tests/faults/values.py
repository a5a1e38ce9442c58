"""Odd values of every setting: each passes the checks or is refused in a line."""

import functools
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import kills, runs
from .table import Result

FAULT = "an odd value of a setting"
_NUMBERS = (
  "0", "-1", "-0.0", "1e-9", "1e300", "1e400", "nan", "inf", "-inf", "1000000000000",
  "9223372036854775808", "0.5", "True", "", "x", "()",
)  # fmt: skip
_TUPLES = ("()", "(0,)", "(-1,)", "(5,1)", "(3,3)", "(1e400,)", "('x',)", "7", "", "((")
_TEXTS = ("", "../../x", "/", "a" * 5000, "<script>", "\x1b[31m", "a\nb", "a:b:c", "0")


def cases(folder: Path, short: bool) -> dict[str, kills.Case]:
  """Odd values, all at once."""
  return {"all": functools.partial(values, folder, 20 if short else 300)}


def values(folder: Path, count: int, rng: random.Random) -> Iterator[Result]:
  """Checks as many odd values, drawn from all settings, in a process of their own."""
  log, begun = folder / "values.log", time.monotonic()
  drawn = folder / "values.json"
  work = lambda: _check(count, rng, drawn)  # noqa: E731
  started = runs.Start([runs.forked(work, log)], [log], begun)
  if started.end():
    raise SystemExit(f"no value could be checked: {started.said()[-1000:]}")
  seconds = (time.monotonic() - begun) / count
  for outcome, wrong, what in json.loads(drawn.read_text()):
    yield Result(FAULT, outcome, seconds, wrong=wrong, what=what)


def _check(count: int, rng: random.Random, to: Path) -> None:
  from robustjax import config as configs
  from robustjax.run import commandline

  sys.argv = ["robustjax", runs.WORDS[0]]
  flat = configs.flatten(commandline.parse().config)
  found = []
  for _ in range(count):
    name, value = rng.choice(sorted(flat.items()))
    word = f"--config.{name}={rng.choice(_odd(value))}"
    sys.argv = [*sys.argv[:2], word]
    found.append((*_outcome(commandline.parse), ascii(word[:100])))
  to.write_text(json.dumps(found))


def _odd(value: Any) -> tuple[str, ...]:
  if isinstance(value, bool | str) or value is None:
    return _TEXTS
  return _TUPLES if isinstance(value, tuple | list) else _NUMBERS


def _outcome(parse: Any) -> tuple[str, str]:
  from robustjax.errors import UserError, line

  try:
    parse()
  except UserError as error:
    told = line(error) or ""
    return "refused", "" if told.isprintable() else f"not printable: {told!r}"
  except BaseException as error:
    return "refused", f"{type(error).__name__}: {error}"
  return "survived", ""
