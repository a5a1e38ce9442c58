"""Which of several processes this one is: by its flags, or by the cluster."""

import contextlib
import os
import socket
import warnings
from typing import NamedTuple

# Private, but JAX has no other way to say where it would connect to.
from jax._src.clusters import ClusterEnv

from robustjax.errors import UserError

_ADDRESSES = 8  # of a name, at most


class Member(NamedTuple):
  """Which of several processes this one is.

  Attributes:
    coordinator: "host:port", where process 0 is.
    processes: how many there are, at least 2.
    process: which one this is, from 0.
    devices: the local devices that this process may use; all of them if None.
  """

  coordinator: str
  processes: int
  process: int
  devices: tuple[int, ...] | None = None

  def addresses(self) -> list[tuple[str, int]]:
    """The coordinator's host, by all its numbers, and its port.

    Raises:
      OSError: nobody knows the host.
    """
    host, _, port = self.coordinator.rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), proto=socket.SOL_TCP)
    numbers = dict.fromkeys(_of_machine(str(address[0])) for *_, address in found)
    return [(number, int(port)) for number in list(numbers)[:_ADDRESSES]]

  def name(self) -> str:
    """What the others call this process."""
    return f"process {self.process} of {self.processes} ({socket.gethostname()})"


def _of_machine(number: str) -> str:
  if number == "127.0.1.1":  # Debian's, for a machine by its name; others have another
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with probe, contextlib.suppress(OSError):  # where there is no way to others
      probe.connect(("192.0.2.1", 9))  # sends nothing
      return str(probe.getsockname()[0])
  return number


def member(
  coordinator: str | None, processes: int | None, process: int | None, wait: int
) -> Member | None:
  """Which process this is: what the flags say, or else the cluster.

  JAX knows Cloud TPU, GKE, Slurm, Open MPI and Kubernetes, from their environment
  variables; it asks the network only on a machine with TPUs.

  Args:
    coordinator: "host:port", or None.
    processes: how many, or None; 1 is this process alone, whatever the cluster says.
    process: which, or None.
    wait: seconds within which the cluster must know its coordinator.

  Returns:
    None if there is one process alone.

  Raises:
    UserError: the flags make no sense, or the cluster cannot say.
  """
  if (coordinator, processes, process) == (None, None, None):
    return _of_cluster(wait)
  if processes == 1 and process in (None, 0):
    return None
  if coordinator is None or processes is None or process is None:
    raise UserError(
      "--coordinator=HOST:PORT, --processes=N and --process=0 to N-1 go together"
    )
  host, _, port = coordinator.rpartition(":")
  if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
    raise UserError(f"--coordinator is {coordinator!r}: write HOST:PORT")
  if processes < 1 or not 0 <= process < processes:
    raise UserError(
      f"--process={process} is not one of --processes={processes}: count from 0"
    )
  return Member(coordinator, processes, process)


def _of_cluster(wait: int) -> Member | None:
  with warnings.catch_warnings():
    if "JOB_COMPLETION_INDEX" not in os.environ:
      # A pod of Kubernetes that is no part of a job is a machine like any other.
      warnings.simplefilter("ignore")
    try:
      address, processes, process, devices = (
        ClusterEnv.auto_detect_unset_distributed_params(
          None, None, None, None, None, wait
        )
      )
    except Exception as error:  # anything that a metadata server can cause
      reason = " ".join(str(error).split())
      raise UserError(
        "this machine is part of a cluster, but which is not known"
        f" ({reason}): give --coordinator, --processes and --process, or"
        " --processes=1 for a run on this machine alone"
      ) from error
  if address is None or processes is None or process is None or processes < 2:
    return None
  return Member(address, processes, process, tuple(devices) if devices else None)
