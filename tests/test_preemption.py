"""Signals are noted, not obeyed at once; a second Ctrl-C is."""

import os
import signal

import pytest

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


def test_a_second_interrupt_ends_the_process(stop):
  os.kill(os.getpid(), signal.SIGINT)
  with pytest.raises(KeyboardInterrupt):
    os.kill(os.getpid(), signal.SIGINT)


def test_without_a_signal_nothing_is_asked(stop):
  assert not any(stop.requested() for _ in range(3))
