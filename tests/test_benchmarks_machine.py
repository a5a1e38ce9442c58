"""A machine that others work on is no place to measure, and is told by their time."""

import os

import pytest

from benchmarks import machine


@pytest.fixture
def others(monkeypatch):
  """Makes `Others` of seconds so far: busy and own, before and after ten seconds."""

  def make(before, after, load=0.0):
    clocks, times = iter([before, after, after]), iter([100.0, 110.0, 110.0])
    monkeypatch.setattr(machine.time, "monotonic", lambda: next(times))
    monkeypatch.setattr(machine, "load", lambda: load)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    return machine.Others(lambda: next(clocks))

  return make


@pytest.mark.parametrize(
  ("before", "after", "taken"),
  [
    ((50.0, 10.0), (70.0, 30.0), 0.0),  # all of it our own
    ((50.0, 10.0), (65.0, 20.0), 0.25),  # 5 of 20 seconds of two cores
    ((50.0, 10.0), (51.0, 12.0), 0.0),  # clocks that do not tick together
  ],
)
def test_others_have_what_is_not_our_own(others, before, after, taken):
  assert others(before, after).taken() == pytest.approx(taken)


def test_it_warns_of_others_and_of_a_load_before(others):
  quiet, own = (50.0, 10.0), (70.0, 30.0)
  assert others(quiet, own).warning() == ""
  assert "25%" in others(quiet, (65.0, 20.0)).warning()
  assert "a load of 3.0 before" in others(quiet, own, 3.0).warning()


def test_what_this_process_does_is_not_taken_by_others():
  clock = machine._seconds
  busy, own = clock()
  assert 0 < own <= busy


def test_the_machine_has_a_name_and_versions():
  assert machine.processor().endswith("cores")
  assert {"Python", "jax", "numpy"} <= set(machine.versions())
