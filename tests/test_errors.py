"""Commands end with a line for what a person can mend, with a traceback for bugs."""

import errno
import os

import pytest

from robustjax import errors
from robustjax.hosts.together import Together
from robustjax.runtime.preemption import Stopped


def of_system(number, *names):
  return OSError(number, os.strerror(number), *names)


FULL = of_system(errno.ENOSPC, "runs/x/config.json")
MENDABLE = [
  (errors.UserError("no such\nthing"), "no such thing"),
  (errors.UserError("no \x1b[31m\udce9"), r"no \x1b[31m\udce9"),
  (FULL, "the disk of runs/x/config.json is full"),
  (of_system(errno.EFBIG), "File too large): what was saved before is whole"),
  (of_system(errno.EMFILE), "a limit is reached"),
  (MemoryError(), "no memory is left"),
  (
    of_system(errno.EACCES, "runs/x/\udce9"),
    r"x/\udce9 is in the way (Permission denied)",
  ),
  (of_system(errno.EISDIR, "x.part", None, "x"), "error: x is in the way (Is a direct"),
  (of_system(errno.ENOENT, "no/such/folder/x"), "folder/x is gone: what was saved"),
]
BUGS = [
  ZeroDivisionError("of ours"),
  of_system(errno.ENOENT, "x"),
  of_system(errno.EACCES),  # of what, nobody could say
  of_system(errno.EINVAL, "x"),
]


def fails(error):
  def command():
    raise error

  return command


@pytest.mark.parametrize(("error", "part"), MENDABLE)
def test_a_mistake_is_a_line(error, part, capsys):
  assert errors.ended(fails(error)) == errors.MISTAKE
  with Together() as together:
    fails(error)()
  assert together.status == errors.MISTAKE
  lines = capsys.readouterr().err.splitlines()
  assert len(lines) == 2 and all(part in line for line in lines)


@pytest.mark.parametrize("error", BUGS)
def test_a_bug_keeps_its_traceback(error, capsys):
  with pytest.raises(type(error)):
    errors.ended(fails(error))
  with pytest.raises(type(error)), Together():
    fails(error)()
  assert not capsys.readouterr().err


def test_what_was_stopped_says_how_it_goes_on(capsys):
  with Together() as together:
    raise Stopped("after step 3")
  assert together.status == errors.STOPPED
  assert "stopped after step 3" in capsys.readouterr().err
  assert errors.ended(lambda: None) == 0
