"""All processes stop at the same poll, whoever wants to, and whenever."""

import random
import threading
import time

import pytest

from robustjax.hosts import stopping
from robustjax.hosts.stopping import Stopping


class Store:
  """JAX's key-value store, of one process; a slow one answers later."""

  def __init__(self, slow=0.0):
    self.values, self.slow = {}, slow
    self.changed = threading.Condition()

  def put(self, key, value, again=False):
    time.sleep(self.slow)
    with self.changed:
      self.values.setdefault(key, value)
      self.changed.notify_all()

  def get(self, key, seconds):
    with self.changed:
      self.changed.wait_for(lambda: key in self.values, min(seconds, 0.05))
      return self.values.get(key)


@pytest.fixture
def store(monkeypatch):
  store = Store()
  monkeypatch.setattr(stopping, "put", store.put)
  monkeypatch.setattr(stopping, "get", store.get)
  return store


def polled(member, wants, pause, until=5.0):
  """At which poll a process stops that polls on and on; None if it does not."""
  end = time.monotonic() + until
  while time.monotonic() < end:
    if member.poll(member.polls >= wants):
      return member.polls
    time.sleep(pause)
  return None


@pytest.mark.parametrize("seed", range(8))
def test_all_stop_at_the_same_poll(store, seed):
  rng = random.Random(seed)
  store.slow = rng.choice((0.0, 0.01))
  count = rng.choice((2, 3, 5))
  members = [Stopping(number, count) for number in range(count)]
  wants = [rng.choice((3, 3, 7, 10**9)) for _ in members[1:]] + [3]
  stopped = [None] * count

  def run(number):
    pause = rng.choice((0.0001, 0.002))
    stopped[number] = polled(members[number], wants[number], pause)

  threads = [threading.Thread(target=run, args=[number]) for number in range(count)]
  for each in members + threads:
    each.start()
  for thread in threads:
    thread.join(10)
  assert len(set(stopped)) == 1 and stopped[0] > 3, stopped
  assert all(member.poll(False) for member in members)  # and so it stays


def test_nobody_stops_unasked_and_nobody_passes_while_the_counts_are_awaited(store):
  first, second = Stopping(0, 2), Stopping(1, 2)
  first.start()
  assert not any(first.poll(False) for _ in range(5))
  assert not first.poll(True)
  while f"{stopping._KEY}/0" not in store.values:
    time.sleep(0.001)
  found = []
  waiting = threading.Thread(target=lambda: found.append(first.poll(False)))
  waiting.start()
  waiting.join(0.2)
  assert not found and first.polls == 6
  for _ in range(9):
    second.poll(False)
  second.start()
  waiting.join(5)
  assert found == [False] and polled(first, 0, 0) == 10 and polled(second, 0, 0) == 10


def test_what_is_no_count_does_not_count(store):
  store.values = {stopping._KEY: {}, f"{stopping._KEY}/1": {"polls": "many"}}
  member = Stopping(0, 2)
  member.start()
  assert polled(member, 10**9, 0.001)


def test_at_the_end_nobody_listens_any_more(store):
  members = [Stopping(number, 2) for number in range(2)]
  for member in members:
    member.start()
  for member in members:
    member.end()
    assert not member._thread.is_alive() and not member.poll(False)


def test_a_wish_that_comes_last_is_agreed_on_before_the_end(store):
  members = [Stopping(number, 2) for number in range(2)]
  members[0].poll(True)
  for member in members:
    member.start()
  for member in members:
    member.end()
    assert not member._thread.is_alive()
  assert [member.poll(False) for member in members] == [True, False]
