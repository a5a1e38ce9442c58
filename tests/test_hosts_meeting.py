"""Processes that meet, or say in one line why they cannot."""

import contextlib
import hashlib
import json
import socket
import sys
import threading
import time
import warnings

import jax
import jaxlib
import pytest

from robustjax.errors import UserError
from robustjax.hosts import cluster, meeting
from robustjax.hosts.cluster import Member

RUN = "runs/mine"
KNOWN = hashlib.sha256(f"{RUN}\n".encode()).hexdigest()  # what it says of the run
JAX = f"jax {jax.__version__}, jaxlib {jaxlib.__version__}"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
  monkeypatch.setattr(meeting, "_FIRST", 0.2)


@pytest.fixture
def address():
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def come():
  """Starts processes in threads; `outcome(thread)` waits for what became of each."""
  outcomes, connected = {}, []

  def run(place, wait):
    try:
      peers = meeting.meet(place, RUN, wait)
      connected.extend(peers)
      outcomes[threading.current_thread()] = [peer.process for peer in peers]
    except UserError as error:
      outcomes[threading.current_thread()] = f"{type(error).__name__}: {error}"

  def started(place, wait=10.0):
    thread = threading.Thread(target=run, args=[place, wait], daemon=True)
    thread.start()
    return thread

  def outcome(thread):
    thread.join(20)
    return outcomes[thread]

  started.outcome = outcome
  yield started
  for peer in connected:
    peer.socket.close()


def stranger(address):
  host, port = address.split(":")
  until = time.monotonic() + 10
  while True:
    try:
      return socket.create_connection((host, int(port)), 10)
    except ConnectionRefusedError:
      assert time.monotonic() < until
      time.sleep(0.05)


def hello(address, **message):
  connection = stranger(address)
  connection.sendall(json.dumps(message).encode() + b"\n")
  with connection.makefile() as lines:
    return connection, json.loads(lines.readline() or "{}")


def test_all_meet_in_whatever_order_they_come(come, address):
  others = [come(Member(address, 3, 2)), come(Member(address, 3, 1))]
  time.sleep(0.4)
  assert come.outcome(come(Member(address, 3, 0))) == [1, 2]
  assert [come.outcome(thread) for thread in others] == [[0], [0]]


def test_who_is_missing_is_named_everywhere(come, address, monkeypatch, capfd):
  monkeypatch.setattr(meeting, "_FIRST", 1)  # both are there by then
  there = [come(Member(address, 4, process), 2.0) for process in (0, 2)]
  for thread in there:
    line = come.outcome(thread)
    assert f"Absent: processes 1, 3 of 4 did not come to {address} in time" in line
    assert "--processes=4 --process=1" in line and "--wait" in line
  reminders = capfd.readouterr().err.splitlines()
  assert len(reminders) == 2  # of process 0, and what process 2 hears from it
  assert all("waiting for processes 1, 3 of 4" in line for line in reminders)


def test_process_0_that_is_not_there_is_named(come, address):
  line = come.outcome(come(Member(address, 2, 1), 0.5))
  assert f"Absent: process 0 of 2 is not at {address} (Connection refused)" in line


def test_a_number_that_is_taken_is_refused_and_the_others_still_meet(come, address):
  there = [come(Member(address, 3, process)) for process in (0, 1)]
  time.sleep(0.5)
  line = come.outcome(come(Member(address, 3, 1)))
  assert line.startswith("UserError: ")  # which no second attempt mends
  assert "another process is --process=1 already" in line
  assert come.outcome(come(Member(address, 3, 2))) == [0]
  assert [come.outcome(thread) for thread in there] == [[1, 2], [0]]


def test_one_that_counts_otherwise_is_refused(come, address):
  first = come(Member(address, 2, 0))
  line = come.outcome(come(Member(address, 3, 1)))
  assert "it has --processes=3, and process 0 has 2" in line
  assert come.outcome(come(Member(address, 2, 1))) == [0]
  assert come.outcome(first) == [1]


def test_one_that_leaves_may_come_back(come, address):
  first = come(Member(address, 3, 0))
  connection, answer = hello(
    address, run=KNOWN, processes=3, process=1, name="a", jax=JAX
  )
  assert answer["name"].startswith("process 0 of 3 (")
  connection.close()
  others = [come(Member(address, 3, process)) for process in (1, 2)]
  assert [come.outcome(thread) for thread in others] == [[0], [0]]
  assert come.outcome(first) == [1, 2]


NOISE = {
  "HTTP": b"GET / HTTP/1.1\r\n\r\n",
  "garbage": bytes(range(256)) * 400,
  "a line that does not end": b"[" * 100_000,
  "nested": b"[" * 4000 + b"\n",
  "a nested name": b'{"name": ' + b"[" * 970 + b"]" * 970 + b"}\n",
  "no number": b'{"processes": 2, "process": true, "host": []}\n',
  "another run's": b'{"run": "x", "processes": 2, "process": 1}\n',
}


def test_strangers_on_the_port_disturb_nobody(come, address):
  first = come(Member(address, 2, 0))
  strangers = [stranger(address) for _ in range(50)]  # who say nothing
  for connection, noise in zip(strangers, NOISE.values(), strict=False):
    with contextlib.suppress(ConnectionError):  # already turned away
      connection.sendall(noise)
  begin = time.monotonic()
  assert come.outcome(come(Member(address, 2, 1))) == [0]
  assert come.outcome(first) == [1]
  assert time.monotonic() - begin < 2
  with pytest.raises(ConnectionRefusedError):  # nothing listens once all are there
    socket.create_connection(address.split(":"), 1)
  for connection in strangers:
    connection.close()


def test_one_that_drips_is_cut_off(come, address, monkeypatch):
  monkeypatch.setattr(meeting, "_GREETING", 0.3)
  first = come(Member(address, 2, 0))
  with stranger(address) as connection, pytest.raises(ConnectionError):
    begin = time.monotonic()
    while time.monotonic() < begin + 5:
      connection.sendall(b"{")
      time.sleep(0.05)
  assert time.monotonic() - begin < 2
  assert come.outcome(come(Member(address, 2, 1))) == [0]
  assert come.outcome(first) == [1]


def test_one_that_does_not_know_the_run_is_turned_away(come, address, monkeypatch):
  first = come(Member(address, 2, 0))
  time.sleep(0.2)
  monkeypatch.setattr(sys.modules[__name__], "RUN", "runs/other")
  line = come.outcome(come(Member(address, 2, 1)))
  assert line.startswith("UserError: process 0 refuses this one: it is of another run")
  monkeypatch.undo()
  monkeypatch.setenv("ROBUSTJAX_SECRET", "?")
  assert "of another run" in come.outcome(come(Member(address, 2, 1)))
  monkeypatch.undo()
  assert come.outcome(come(Member(address, 2, 1))) == [0]
  assert come.outcome(first) == [1]


def test_only_the_coordinators_own_address_is_listened_at(come, address):
  first = come(Member(address, 2, 0))
  stranger(address).close()
  with pytest.raises(ConnectionRefusedError):
    socket.create_connection(("127.0.0.2", int(address.split(":")[1])), 1)
  assert come.outcome(come(Member(address, 2, 1))) == [0]
  assert come.outcome(first) == [1]


def test_what_others_say_is_printed_without_control_characters(come, address, capfd):
  with socket.create_server(("127.0.0.1", 0)) as server:
    address = f"127.0.0.1:{server.getsockname()[1]}"
    follower = come(Member(address, 2, 1), 1.0)
    connection, _ = server.accept()
    connection.sendall(b'{"name": "\\u001b[31m", "waiting": "\\u001b[2J\\nx"}\n')
    connection.sendall(b'{"error": "\\u001b[2Jgone"}\n')
    assert come.outcome(follower) == "UserError: ?[2Jgone"
    connection.close()
  assert capfd.readouterr().err == "?[2J?x\n"


def test_another_program_at_the_address_is_not_process_0(come):
  with socket.create_server(("127.0.0.1", 0)) as server:
    address = f"127.0.0.1:{server.getsockname()[1]}"
    follower = come(Member(address, 2, 1), 1.5)
    for _ in range(2):
      connection, _ = server.accept()
      connection.sendall(b"\x00\x00\x12\x04 no JSON\n")
      connection.close()
    server.close()
    assert "process 0 of 2 is not at" in come.outcome(follower)


def test_a_port_in_use_is_one_line(come, address):
  host, port = address.split(":")
  with socket.create_server((host, int(port))):
    line = come.outcome(come(Member(address, 2, 0)))
  assert f"cannot listen at 127.0.0.1:{port} (Address already in use)" in line


@pytest.mark.parametrize(
  "flags, message",
  [
    (("a:1", 2, None), "go together"),
    ((None, 2, None), "go together"),
    ((None, None, 0), "go together"),
    (("a", 2, 0), "'a': write HOST:PORT"),
    (("a:b", 2, 0), "'a:b': write HOST:PORT"),
    ((":1", 2, 0), "':1': write HOST:PORT"),
    (("a:1", 2, 2), "--process=2 is not one of --processes=2"),
  ],
)
def test_flags_that_make_no_sense_are_one_line(flags, message):
  with pytest.raises(UserError, match=message):
    cluster.member(*flags, wait=1)


def test_flags_say_which_process_this_is():
  assert cluster.member("a:1", 2, 1, wait=1) == Member("a:1", 2, 1)
  assert cluster.member(None, 1, None, wait=1) is None


@pytest.mark.parametrize("kubernetes", [False, True])
def test_a_machine_of_no_cluster_is_alone_at_once(monkeypatch, kubernetes):
  for name in ("SLURM_JOB_ID", "OMPI_MCA_orte_hnp_uri", "JOB_COMPLETION_INDEX"):
    monkeypatch.delenv(name, raising=False)
  if kubernetes:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
  begin = time.monotonic()
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    assert cluster.member(None, None, None, wait=60) is None
  assert time.monotonic() - begin < 1


@pytest.fixture
def slurm(monkeypatch):
  for name, value in {
    "JOB_ID": "7", "STEP_NODELIST": "node[3-4]", "NTASKS": "2", "PROCID": "1",
    "LOCALID": "0",
  }.items():  # fmt: skip
    monkeypatch.setenv(f"SLURM_{name}", value)
  return monkeypatch


def test_a_cluster_says_which_process_this_is(slurm):
  found = cluster.member(None, None, None, wait=1)
  assert found == Member(f"node3:{65535 - 2**12 + 1 + 7}", 2, 1, (0,))
  assert cluster.member(None, 1, None, wait=1) is None  # the flag comes first


def test_a_job_of_one_task_is_alone(slurm):
  slurm.setenv("SLURM_NTASKS", "1")
  slurm.setenv("SLURM_PROCID", "0")
  assert cluster.member(None, None, None, wait=1) is None


def test_a_cluster_that_cannot_be_read_is_one_line(slurm):
  slurm.setenv("SLURM_NTASKS", "2(x2)")
  with pytest.raises(UserError, match=r"part of a cluster.*2\(x2\).*--processes=1"):
    cluster.member(None, None, None, wait=1)


def test_a_process_0_that_hangs_is_given_up(address, monkeypatch):
  """It answers once, and then says nothing though it lives."""
  monkeypatch.setattr(meeting, "_REMIND", 0.1)
  host, port = address.split(":")
  with socket.create_server((host, int(port))) as server:
    answered = []

    def answer():
      while True:
        connection, _ = server.accept()
        connection.sendall(b'{"name": "x"}\n')
        answered.append(connection)

    threading.Thread(target=answer, daemon=True).start()
    with pytest.raises(meeting.Absent, match="process 0 of 2 is not at"):
      meeting.meet(Member(address, 2, 1), RUN, 1.0)
  assert len(answered) > 1  # it tried again


def test_a_machine_by_its_own_name_is_found_by_all_who_are_on_it(monkeypatch):
  found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.1.1", 0))]
  monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
  one, other = (Member("this-machine:0", 2, process).address() for process in (0, 1))
  assert one == other
  socket.create_server(one).close()


def test_another_jax_is_refused(come, address, monkeypatch):
  first = come(Member(address, 2, 0))
  stranger(address).close()  # it waits
  with monkeypatch.context() as patch:
    patch.setattr(meeting, "version", lambda name: "0.1")
    line = come.outcome(come(Member(address, 2, 1)))
  assert "it has jax 0.1, jaxlib 0.1, and process 0 has jax " in line
  assert come.outcome(come(Member(address, 2, 1))) == [0]
  assert come.outcome(first) == [1]
