"""Lines and bars for the person, who may have gone."""

import io
import sys

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
