"""Paths as a person types them."""

from pathlib import Path

from robustjax.errors import UserError


def typed(text: str) -> Path:
  """A path of a flag: no shell expands the ~ of --workdir=~/x.

  Raises:
    UserError: nobody has this name, or this user has no home.
  """
  try:
    return Path(text).expanduser()
  except RuntimeError as error:
    raise UserError(f"{text}: {error}; write the whole path") from error
