"""The secret in the folder of a run."""

from pathlib import Path

import pytest

from robustjax.errors import UserError
from robustjax.hosts import secret

RUN = Path("runs/mine")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  monkeypatch.delenv("ROBUSTJAX_SECRET", raising=False)


def test_the_secret_is_of_a_folder_and_for_its_owner_alone():
  with secret.made(RUN) as one:
    path = RUN / secret.FILE
    assert path.stat().st_mode & 0o777 == 0o600 and secret.known(RUN) == one
    path.chmod(0o644)  # as of a copy: others may have read it
  assert not RUN.exists()  # nothing was begun
  RUN.mkdir(parents=True)
  path.write_bytes(bytes(64))  # as after a power cut
  path.chmod(0o600)
  assert secret.known(RUN) is None
  with secret.made(RUN) as other, secret.made(RUN) as same:
    assert other == same == secret.known(RUN) != one
    path.chmod(0o644)
    with secret.made(RUN) as new:
      assert new != other
  assert path.exists()


def test_a_word_in_the_environment_is_instead_of_the_file(monkeypatch):
  monkeypatch.setenv("ROBUSTJAX_SECRET", "?")
  with secret.made(RUN) as one:
    assert not RUN.exists() and one == secret.known(RUN) != secret.known(Path("other"))
  monkeypatch.setenv("ROBUSTJAX_SECRET", "!")
  assert secret.known(RUN) != one


def test_a_file_of_another_person_is_one_line(monkeypatch):
  def refuse(*_, **__):
    raise PermissionError(13, "Permission denied", f"{RUN}/.secret")

  RUN.mkdir(parents=True)
  monkeypatch.setattr(Path, "open", refuse)
  with pytest.raises(UserError, match="cannot be read .*denied.*ROBUSTJAX_SECRET"):
    secret.known(RUN)
