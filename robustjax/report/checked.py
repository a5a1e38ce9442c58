"""Files of JSON, read with doubt: of damage it is said where it is."""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from robustjax.report.document import clean
from robustjax.runtime import files

# No number that is read is below 0 or larger, and nothing is nested deeper.
MOST = 10**12
_DEPTH = 20

T = TypeVar("T")


class Damaged(Exception):
  """A file does not hold what it should: in a few words, for one line."""


def read_json(path: Path, finite: bool = False) -> Any:
  """The value in a file, or None without the file."""
  try:
    return _parse(_text(path), finite)
  except FileNotFoundError:
    return None
  except (ValueError, RecursionError) as error:
    raise Damaged("it is not JSON") from error
  except OSError as error:
    raise Damaged(f"it cannot be read ({error.strerror})") from error


def read_lines(path: Path, finite: bool = False) -> list[Any]:
  """The values in a file's lines; a last line that a kill cut short is left out."""
  try:
    lines = _text(path).splitlines()
  except FileNotFoundError:
    return []
  except ValueError as error:
    raise Damaged("it is not text") from error
  except OSError as error:
    raise Damaged(f"it cannot be read ({error.strerror})") from error
  found = []
  for number, line in enumerate(lines, 1):
    try:
      found.append(_parse(line, finite))
    except (ValueError, RecursionError) as error:
      if number == len(lines):
        break
      raise Damaged(f"line {number} is not JSON") from error
    except Damaged as error:
      raise Damaged(f"line {number}: {error}") from error
  return found


def _text(path: Path) -> str:
  try:
    return files.content(path).decode()
  except files.Damaged as error:
    raise Damaged("it is not a file, or far too large") from error


def each(values: Iterable[Any], check: Callable[[Any], T], word: str) -> list[T]:
  """What `check` makes of the values; its complaint names the value, as "line 3"."""
  found = []
  for number, value in enumerate(values, 1):
    try:
      found.append(check(value))
    except Damaged as error:
      raise Damaged(f"{word} {number}: {error}") from error
  return found


def _parse(text: str, finite: bool = False) -> Any:
  """The value of a JSON text; raises ValueError or RecursionError if it is none.

  `finite` refuses NaN and infinities as damage, wherever they stand.
  """
  hook = _finite if finite else None
  value = json.loads(text, parse_constant=hook, parse_float=hook)
  if isinstance(value, dict) and files.DIGEST in value:
    written = value.pop(files.DIGEST)
    if written != files.digest(value):
      raise Damaged("it is not what was written, or was changed by hand")
  level = [value]
  for _ in range(_DEPTH):
    nested = [inner for inner in level if isinstance(inner, dict | list)]
    if not nested:
      return value
    level = [v for n in nested for v in (n.values() if isinstance(n, dict) else n)]
  raise ValueError


def _finite(text: str) -> float:
  value = float(text)
  if not math.isfinite(value):
    raise Damaged(f"it holds {short(text)}")
  return value


def get(value: Any, name: str, kind: type) -> Any:
  """`value[name]`, of a kind; `name` may be dotted. Numbers are of 0..MOST."""
  for part in name.split("."):
    if not isinstance(value, dict) or part not in value:
      raise Damaged(f"it has no {name}")
    value = value[part]
  kinds: Any = (int, float) if kind is float else kind
  if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
    raise Damaged(f"its {name} is {short(value)}")
  if kind in (int, float) and not 0 <= value <= MOST:
    raise Damaged(f"its {name} is {short(value)}")
  return value


def short(value: Any) -> str:
  """What was found, for a line that complains of it."""
  text = clean(repr(value))
  return text if len(text) <= 40 else f"{text[:40]}..."
