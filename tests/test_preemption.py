"""Signals are noted, not obeyed at once; a second Ctrl-C is."""

import os
import signal

import pytest

from robustjax.runtime import preemption
from robustjax.runtime.preemption import Stop


@pytest.fixture
def stop():
  """A listening Stop; the process's own handlers come back afterwards."""
  before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
  yield Stop().listen()
  for number, handler in before.items():
    signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
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


def test_one_sync_point_of_several_processes_is_remembered(monkeypatch):
  monkeypatch.setattr(preemption.jax, "process_count", lambda: 2)
  reached = iter([False, True, False, False])
  monkeypatch.setattr(
    preemption.multihost_utils, "reached_preemption_sync_point", lambda _: next(reached)
  )
  stop = Stop()
  assert [stop.requested() for _ in range(4)] == [False, True, True, True]


def test_an_interrupt_of_one_of_several_processes_is_passed_on(stop, monkeypatch):
  monkeypatch.setattr(preemption.jax, "process_count", lambda: 2)
  heard = []
  signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))  # as JAX does
  os.kill(os.getpid(), signal.SIGINT)
  assert heard == [signal.SIGTERM]


def test_without_a_signal_nothing_is_asked(stop):
  assert not any(stop.requested() for _ in range(3))


def test_released_signals_end_the_process_again():
  before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
  try:
    Stop().listen().release()
    assert all(signal.getsignal(n) == signal.SIG_DFL for n in before)
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
