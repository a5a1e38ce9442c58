"""Signals are noted, not obeyed at once; a second Ctrl-C is."""

import os
import signal

import pytest

from robustjax.runtime import preemption
from robustjax.runtime.preemption import Stop

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


@pytest.fixture
def stop():
  """A listening Stop; the process's own handlers come back afterwards."""
  before = {n: signal.getsignal(n) for n in SIGNALS}
  yield Stop().listen()
  for number, handler in before.items():
    signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted(stop, number):
  assert not stop.requested()
  os.kill(os.getpid(), number)
  assert stop.requested() and stop.requested()


def test_a_second_interrupt_ends_the_process(stop, monkeypatch, capsys):
  ended = []
  monkeypatch.setattr(os, "_exit", ended.append)
  os.kill(os.getpid(), signal.SIGINT)
  assert not ended and "Ctrl-C again ends at once" in capsys.readouterr().err
  os.kill(os.getpid(), signal.SIGINT)
  assert ended == [130]


def test_what_several_processes_agree_on_counts():
  asked, answers = [], iter([False, True])
  stop = Stop(lambda wanted: asked.append(wanted) or next(answers))
  assert not stop.requested()
  stop._note(signal.SIGTERM, None)
  assert stop.requested() and asked == [False, True]


def test_without_a_signal_nothing_is_asked(stop):
  assert not any(stop.requested() for _ in range(3))


@pytest.mark.parametrize("number", SIGNALS)
def test_once_all_is_saved_a_signal_ends_with_a_line(stop, monkeypatch, capsys, number):
  ended = []
  monkeypatch.setattr(os, "_exit", ended.append)
  stop.at_once("all is saved")
  os.kill(os.getpid(), number)
  assert ended == [143] and "all is saved" in capsys.readouterr().err


def test_a_terminal_that_is_gone_does_not_keep_a_signal_from_being_noted(
  stop, monkeypatch
):
  def gone(*_, **__):
    raise OSError(5, "Input/output error")

  monkeypatch.setattr("builtins.print", gone)
  os.kill(os.getpid(), signal.SIGTERM)
  assert stop.requested()


def test_nohup_is_respected():
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  others = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
  try:
    Stop().listen()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
  finally:
    for number, handler in {**others, signal.SIGHUP: before}.items():
      signal.signal(number, handler)


def test_a_notebook_gets_its_signals_back():
  before = signal.getsignal(signal.SIGINT)
  with preemption.handed_back(False):
    preemption.Stop().at_once("over")
    assert signal.getsignal(signal.SIGINT) is not before
  assert signal.getsignal(signal.SIGINT) is before
