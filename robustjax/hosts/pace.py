"""Who keeps the others waiting."""

import time
from collections.abc import Sequence

from robustjax.hosts.cluster import Member
from robustjax.hosts.messages import get, put
from robustjax.hosts.peer import Peer
from robustjax.hosts.stopping import Stopping
from robustjax.runtime import log

_KEY = "robustjax/polls"

REMIND = 30  # seconds between two lines about who is waited for


class Pace:
  """How far each process is; where all stand still, process 0 names who is behind.

  Args:
    member: which one this is.
    peers: of process 0: all the others.
    stopping: knows how far this process is, in steps that all take together.
  """

  def __init__(self, member: Member, peers: Sequence[Peer], stopping: Stopping):
    self._member, self._peers, self._stopping = member, peers, stopping
    self._at, self._since = 0, time.monotonic()

  def say(self) -> None:
    """Tells the others, and waits for an answer; called again and again."""
    at, now = self._stopping.polls, time.monotonic()
    put(f"{_KEY}/{self._member.process}", {"polls": at}, again=True)
    stands = at == self._at and now - self._since >= REMIND
    if stands and self._member.process == 0:
      far = {self._member.name(): at}
      for peer in self._peers:
        told = (get(f"{_KEY}/{peer.process}", 0.1) or {}).get("polls")
        far[peer.name] = told if isinstance(told, int) else 0
      if slow := [name for name, polls in far.items() if polls < max(far.values())]:
        log.complain(f"all wait for {', '.join(slow[:8])}, for {REMIND} s now")
    if stands or at != self._at:
      self._at, self._since = at, now
