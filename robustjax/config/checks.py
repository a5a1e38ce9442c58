"""What no run can have, or no person means, found before anything compiles."""

import difflib
from collections.abc import Mapping
from typing import Any

from robustjax.config import ranges, relations
from robustjax.config.defaults import DEFAULTS
from robustjax.errors import UserError


def nearest(name: str) -> str:
  """A hint naming the most similar value that there is, or nothing."""
  close = difflib.get_close_matches(name, list(DEFAULTS), 1, 0.4)
  return f"; did you mean --config.{close[0]}?" if close else ""


def check(flat: Mapping[str, Any]) -> None:
  """Refuses values that no run can have or nobody means, before anything compiles.

  Each value is looked at by itself first, in the order of `DEFAULTS`, and then those
  that belong together: what is wrong by itself is what is named.

  Args:
    flat: dotted name -> value.

  Raises:
    UserError: one line that names the value and what it may be.
  """
  for name in flat:
    if name not in DEFAULTS:
      raise UserError(f"config.{name} does not exist{nearest(name)}")
  # An imported run's epochs, and its eps where nobody says one.
  may_be_0 = relations.OF_IMPORTED if flat.get("init.weights") else ()
  for name in DEFAULTS:
    if name not in flat:
      raise UserError(f"config.{name} is missing: take config.base as it is")
    if name in may_be_0 and flat[name] == 0:
      continue
    if what := ranges.wrong(name, flat[name]):
      raise UserError(f"config.{name} {what}")
  for is_wrong, message in relations.wrong(flat):
    if is_wrong:
      raise UserError(f"config.{message}")
