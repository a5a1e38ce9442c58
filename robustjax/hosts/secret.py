"""The secret by which the processes of a run know each other: a file in its folder."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from robustjax.errors import UserError

FILE = ".secret"

_CHARACTERS = 64  # of the file, four bits each


@contextlib.contextmanager
def made(folder: Path) -> Iterator[bytes]:
  """The secret, which process 0 makes where there is none that only it may read.

  A folder that is new is gone again afterwards: others have yet to refuse the run.

  Raises:
    UserError: the folder cannot be written to.
  """
  new, path = not folder.exists(), folder / FILE
  try:
    if known(folder) is None or (path.exists() and path.stat().st_mode & 0o077):
      folder.mkdir(parents=True, exist_ok=True)
      path.unlink(missing_ok=True)
      with open(path, "x", opener=lambda name, how: os.open(name, how, 0o600)) as file:
        file.write(secrets.token_hex(_CHARACTERS // 2))
        file.flush()
        os.fsync(file.fileno())  # or a network file system would not show it yet
    if (secret := known(folder)) is None:
      raise UserError(f"{path} does not hold what was written: name another folder")
  except OSError as error:
    raise UserError(
      f"{folder} cannot be written to ({error.strerror}): name another folder"
    ) from error
  try:
    yield secret
  finally:
    if new:
      with contextlib.suppress(OSError):
        path.unlink()
        folder.rmdir()


def known(folder: Path) -> bytes | None:
  """What all who see the folder know; None while its file is not there.

  Raises:
    UserError: the file is another person's.
  """
  word = os.environ.get("ROBUSTJAX_SECRET", "").encode()
  try:
    if not word:
      os.listdir(folder)  # or a network file system goes on saying that it is absent
      with (folder / FILE).open("rb") as file:
        word = file.read(_CHARACTERS + 1)
      if len(word) != _CHARACTERS or not word.isalnum():
        return None  # it is on its way
  except PermissionError as error:
    raise UserError(
      f"{error.filename} cannot be read ({error.strerror}): start every process as the"
      " same person, or give each the same random $ROBUSTJAX_SECRET"
    ) from error
  except OSError:
    return None
  return hashlib.sha256(f"{folder}\n".encode() + word).digest()
