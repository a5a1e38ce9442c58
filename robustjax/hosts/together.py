"""How a command of one process or several ends, in the same way wherever it is."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from robustjax import errors
from robustjax.hosts import processes
from robustjax.hosts.cluster import Member
from robustjax.runtime import log
from robustjax.runtime.preemption import Stopped


class Together:
  """What is done in its `with` ends all processes: with a line, or when all are done.

  Attributes:
    hosts: the processes; this one alone until they have met.
    status: the exit status, once it has ended.
  """

  def __init__(self) -> None:
    self.hosts = processes.Hosts()
    self.status = 0

  def meet(
    self, member: Member | None, facts: Mapping[str, Any], wait: int
  ) -> processes.Hosts:
    """Meets the others, as `processes.join` does, and returns all."""
    self.hosts = processes.join(member, facts, wait)
    return self.hosts

  def __enter__(self) -> "Together":
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> bool:
    if isinstance(error, Stopped):
      line = f"stopped {error}: the same command goes on from there"
      log.complain(line, self.hosts.leads)
      self.status = errors.STOPPED
    elif error is not None and (told := errors.line(error)) is not None:
      self.status = processes.status(error)
      self.hosts.end(told, self.status)
      return True
    elif error is not None:
      if isinstance(error, Exception):
        self.hosts.broke(error)
      return False
    self.hosts.leave(stopped=error is not None)
    return True
