"""Lines and bars for the person, who may have gone."""

import fcntl
import io
import os
import pty
import re
import select
import struct
import sys
import termios
import time

import pytest

from robustjax.runtime import log


class Gone:
  """A terminal that was closed."""

  encoding = "utf-8"

  def write(self, text):
    raise OSError(5, "Input/output error")

  flush = isatty = fileno = lambda self, *_: self.write("")


def test_progress_shows_the_rate_and_the_time_left(capsys):
  bar = log.progress("train", total=1000, done=200, unit="images")
  bar.update(100)
  bar.refresh()
  bar.close()
  shown = capsys.readouterr().err
  assert "300/1.00k" in shown and "images/s" in shown and "<" in shown


def test_differences_are_of_values_and_of_names_alone():
  one, other = {"b": 1, "a": 2, "same": 0}, {"b": 3, "same": 0, "none": None}
  assert list(log.differences(one, other)) == ["a", "b", "none"]


def test_a_terminal_that_is_gone_stops_nothing(monkeypatch):
  bar = log.progress("train", total=10, done=0, unit="images")
  monkeypatch.setattr(sys, "stdout", Gone())
  monkeypatch.setattr(sys, "stderr", Gone())
  log.say("a line")
  log.complain("another")
  bar.update(5)
  bar.refresh()
  bar.close()


def test_what_stands_aside_fails_with_a_line(capsys):
  with log.aside("the picture"):
    raise OSError(28, "No space left on device")
  assert "the picture could not be made" in capsys.readouterr().err
  with pytest.raises(KeyboardInterrupt), log.aside("the picture"):
    raise KeyboardInterrupt


def test_a_terminal_gets_the_letters_that_it_has(monkeypatch):
  for say, name in ((log.say, "stdout"), (log.complain, "stderr")):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding="ascii"))
    say("class \xe9, file \udce9")
    assert raw.getvalue() == b"class \\xe9, file \\udce9\n"


class Screen(io.TextIOWrapper):
  """A real terminal as standard error.

  Args:
    columns: how wide it is.
  """

  def __init__(self, columns):
    self._there, here = pty.openpty()
    fcntl.ioctl(here, termios.TIOCSWINSZ, struct.pack("HHHH", 9, columns, 0, 0))
    super().__init__(io.FileIO(here, "w"), encoding="utf-8")

  def shown(self):
    """All that was written to it, a piece for each time that a line was begun anew."""
    self.flush()
    text = b""
    while select.select([self._there], [], [], 0.1)[0]:
      text += os.read(self._there, 100_000)
    return re.split("[\r\n]+", text.decode())


@pytest.fixture
def screen(monkeypatch):
  made = []

  def of(columns=80):
    made.append(Screen(columns))
    monkeypatch.setattr(sys, "stderr", made[-1])
    return made[-1]

  yield of
  for one in made:
    one.close()
    os.close(one._there)


@pytest.fixture
def hurried(monkeypatch):
  """What is told after seconds is told at once."""
  monkeypatch.setattr(log, "QUIET_SECONDS", 0.01)
  monkeypatch.setattr(log, "LINE_SECONDS", 0.01)


def until(holds):
  deadline = time.monotonic() + 60
  while not holds():
    assert time.monotonic() < deadline
    time.sleep(0.01)


def test_a_line_goes_where_the_bar_was(screen):
  terminal = screen()
  bar = log.progress("train", total=10, done=0, unit="images")
  bar.refresh()
  log.complain("a line")
  bar.close()
  pieces = terminal.shown()
  assert "a line" in pieces  # with nothing of the bar beside it
  assert pieces[pieces.index("a line") - 1].strip() == ""


def test_a_log_has_lines_and_no_bars(capsys, hurried):
  with log.progress("train", total=1000, done=0, unit="images") as bar:
    time.sleep(0.02)
    bar.update(430)
    log.complain("a line")
  lines = capsys.readouterr().err.splitlines()
  assert "a line" in lines and lines[-1].startswith("train:  43% 430/1.00k [")
  assert not any(sign in line for line in lines for sign in "\r|█#\x1b")


def test_a_dumb_terminal_is_a_log(screen, monkeypatch):
  monkeypatch.setenv("TERM", "dumb")
  terminal = screen()
  log.progress("train", total=10, done=0, unit="images").close()
  assert "|" not in "".join(terminal.shown())


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_a_line_never_wraps_and_the_time_left_has_room(screen, columns):
  terminal = screen(columns)
  with log.progress("evaluate", 10_000, 0, "attack steps", compiles=True) as bar:
    bar.update(100)  # the first, which compiles
    bar.set_postfix_str("loss 2.303 clean 0.100 adv 0.100", refresh=False)
    time.sleep(0.01)
    bar.update(5_000)
  pieces = terminal.shown()
  assert max(map(len, pieces)) <= columns
  left = re.compile(r"<\d\d:\d\d" if columns > 20 else r"51%")
  assert any(map(left.search, pieces))


def test_nothing_is_coloured(screen, monkeypatch):
  """So that there is nothing for NO_COLOR to take away."""
  terminal = screen()
  log.progress("train", total=10, done=0, unit="images").close()
  assert "\x1b[" not in "".join(terminal.shown())


def test_a_bar_counts_seconds_while_nothing_is_done(capsys, hurried):
  with log.progress("train", 10, 0, "images", compiles=True) as bar:
    said = []
    until(lambda: said.append(capsys.readouterr().err) or len("".join(said)) > 120)
    assert all("compiling" in line for line in "".join(said).splitlines())
    bar.update(10)
  assert "compiling" not in capsys.readouterr().err


def test_the_time_left_is_of_what_follows_the_compile(capsys):
  with log.progress("train", 1000, 0, "images", compiles=True) as bar:
    bar.start_t -= 3600  # the compile
    bar.update(10)
    bar.start_t -= 10
    bar.update(490)
    bar.refresh()
  said = capsys.readouterr().err
  assert re.search(r"50% 500/1.00k \[00:1\d<00:1\d, 4\d\.\d images/s\]", said)


def test_what_is_short_is_not_told_of(capsys):
  with log.waiting("the report", total=2) as done:
    done()
  assert not any(capsys.readouterr())


def test_what_takes_longer_says_how_long(capsys, hurried):
  said = []
  with log.waiting("the report"):
    until(lambda: said.append(capsys.readouterr().err) or "".join(said))
  assert re.match(r"the report: \d\d:\d\d\n", "".join(said))


def test_parts_that_are_counted_say_what_is_left(capsys, hurried):
  said = []
  with log.waiting("pictures", total=4) as done:
    done()
    until(lambda: said.append(capsys.readouterr().err) or " 1/4 [" in "".join(said))
    done()
  assert " 2/4 [" in capsys.readouterr().err


def test_processes_that_do_not_show_say_nothing(capsys, hurried):
  with (
    log.waiting("the report", shows=False) as done,
    log.progress("train", 9, 0, "images", False, compiles=True) as bar,
  ):
    for _ in range(3):
      bar.update(3)
      bar.set_postfix_str("loss 1", refresh=False)
    done()
    time.sleep(0.05)
  assert not any(capsys.readouterr())


def test_stages_follow_each_other(capsys, hurried):
  said = []
  with log.stages() as begin:
    begin("single steps")
    until(lambda: said.append(capsys.readouterr().err) or "steps: 0" in "".join(said))
    begin("differences")
  text = "".join([*said, capsys.readouterr().err])
  assert text.index("single steps\n") < text.index("single steps: 00")
  assert text.rindex("single steps: 00") < text.index("differences\n")


def test_an_error_ends_the_waiting(capsys, hurried):
  with pytest.raises(KeyError), log.waiting("the report"):
    raise KeyError("x")
