"""What processes tell each other: bounded, and clean to print.

Once JAX has connected them, its key-value store carries it.
"""

import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any

import jax

# Private, but JAX gives its key-value store to nobody otherwise.
from jax._src.distributed import global_state

_LONGEST = 2**20  # bytes of a value


def parse(line: str | bytes, longest: int) -> dict[str, Any]:
  """The message in a line; empty where it is none."""
  with contextlib.suppress(ValueError, RecursionError):
    if len(line) <= longest and isinstance(message := json.loads(line), dict):
      return message
  return {}


def clean(text: Any) -> str:
  """What another process said, as one line without control characters."""
  text = str(text) if isinstance(text, str | int) else "?"  # no tree to recurse into
  return "".join(x if x.isprintable() else "?" for x in text[:4096])


def put(key: str, value: Mapping[str, Any], again: bool = False) -> None:
  """Sets a key of JAX's store; of two that set the same one, the first, or `again`."""
  if global_state.client:
    with contextlib.suppress(jax.errors.JaxRuntimeError):
      global_state.client.key_value_set(key, json.dumps(value), again)


def get(key: str, seconds: float) -> dict[str, Any] | None:
  """The value of a key; None if nobody sets it in time."""
  try:
    if global_state.client:
      milliseconds = round(1000 * seconds)
      value = global_state.client.blocking_key_value_get(key, milliseconds)
      return parse(value, _LONGEST)
  except jax.errors.JaxRuntimeError as error:
    if "DEADLINE_EXCEEDED" not in str(error):
      time.sleep(seconds)  # a client that has failed answers at once
  return None
