"""Processes that meet, or say in one line why they cannot."""

import contextlib
import errno
import socket
import threading
import time
import warnings
from pathlib import Path

import jax
import jaxlib
import pytest

from robustjax.errors import UserError
from robustjax.hosts import cluster, door, meeting, secret
from robustjax.hosts.cluster import Member
from robustjax.hosts.peer import Peer

RUN = Path("runs/mine")
JAX = f"jax {jax.__version__}, jaxlib {jaxlib.__version__}"


@pytest.fixture(autouse=True)
def impatient(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  monkeypatch.delenv("ROBUSTJAX_SECRET", raising=False)
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


@contextlib.contextmanager
def caller(address, **message):
  """One who knows the secret, once it has said something, and the answer."""
  with stranger(address) as connection:
    peer = Peer(connection, secret.known(RUN), False)
    assert peer.receive(5) == {}
    peer.send(**message)
    yield connection, peer.receive(5)


OTHER = {"processes": 2, "process": 1, "name": "other", "jax": JAX}


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
  assert f"process 0 of 2 is not at {address} (it has yet to write {RUN}/" in line
  with secret.made(RUN):
    line = come.outcome(come(Member(address, 2, 1), 0.5))
  assert f"Absent: process 0 of 2 is not at {address} (Connection refused)" in line


def test_a_number_that_is_taken_is_refused_and_the_others_still_meet(come, address):
  there = [come(Member(address, 3, 0))]
  with caller(address, **OTHER):  # who is refused: process 0 listens
    there.append(come(Member(address, 3, 1)))
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
  with caller(address, **OTHER | {"processes": 3}) as (_, answer):
    assert answer["name"].startswith("process 0 of 3 (")
  others = [come(Member(address, 3, process)) for process in (1, 2)]
  assert [come.outcome(thread) for thread in others] == [[0], [0]]
  assert come.outcome(first) == [1, 2]


NONCE = b"robustjax " + b"0" * 32 + b"\n"
NOISE = {
  "HTTP": b"GET / HTTP/1.1\r\n\r\n",
  "garbage": bytes(range(256)) * 400,
  "a line that does not end": b"[" * 100_000,
  "no nonce": b"robustjax \n",
  "nested": NONCE + b"[" * 4000 + b"\n",
  "long": NONCE + b"0" * 64 + b' {"name": "' + b"x" * 100_000 + b'"}\n',
  "not sealed": NONCE + b'{"processes": 2, "process": 1}\n',
  "sealed by nobody": NONCE + b"0" * 64 + b' {"processes": 2, "process": 1}\n',
  "sealed in another way": NONCE + b"\xff\x1b[2J" * 9 + b" {}\n",
}


def test_strangers_on_the_port_disturb_nobody(come, address, capfd, monkeypatch):
  monkeypatch.setattr(door, "_GREETING", 60)
  first = come(Member(address, 2, 0))
  strangers = [stranger(address) for _ in range(300)]  # who say nothing
  strangers[0].settimeout(5)
  with strangers[0].makefile("rb") as lines:
    assert len(lines.read()) == len(NONCE)  # and its end
  for connection, noise in zip(strangers[-50:], NOISE.values(), strict=False):
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
  lines = [x for x in capfd.readouterr().err.splitlines() if "waiting" not in x]
  assert len(lines) == 3 and set(lines) == {
    f"turned away 127.0.0.1: {why}" for why in (
      "it is no process of robustjax", "it says too much", "it does not know the secret"
    )
  }  # fmt: skip


def test_one_that_drips_is_cut_off(come, address, monkeypatch):
  monkeypatch.setattr(door, "_GREETING", 0.3)
  first = come(Member(address, 2, 0))
  with stranger(address) as connection, pytest.raises(ConnectionError):
    begin = time.monotonic()
    while time.monotonic() < begin + 5:
      connection.sendall(b"{")
      time.sleep(0.05)
  assert time.monotonic() - begin < 2
  assert come.outcome(come(Member(address, 2, 1))) == [0]
  assert come.outcome(first) == [1]


def test_one_that_does_not_know_the_secret_stays_outside(come, address, monkeypatch):
  first = come(Member(address, 2, 0))
  stranger(address).close()
  with monkeypatch.context() as patch:
    patch.setenv("ROBUSTJAX_SECRET", "?")
    line = come.outcome(come(Member(address, 2, 1), 0.5))
  assert "is not of this run, by --workdir or $ROBUSTJAX_SECRET" in line
  assert come.outcome(come(Member(address, 2, 1))) == [0]
  assert come.outcome(first) == [1]


class Between:
  """Passes on what a process and process 0 say; `change` sees each line."""

  def __init__(self, address, change=lambda line: line):
    self.server = socket.create_server(("127.0.0.1", 0))
    self.address = f"127.0.0.1:{self.server.getsockname()[1]}"
    self.said, self.change, self.there = [], change, address
    threading.Thread(target=self.serve, daemon=True).start()

  def serve(self):
    with contextlib.suppress(OSError):
      while True:
        one, other = self.server.accept()[0], stranger(self.there)
        for ends in (one, other), (other, one):
          threading.Thread(target=self.carry, args=ends, daemon=True).start()

  def carry(self, one, other):
    with contextlib.suppress(OSError), one, one.makefile("rb") as lines:
      for line in lines:
        self.said.append(line)
        other.sendall(self.change(line))
      other.shutdown(socket.SHUT_RDWR)


def test_what_was_heard_on_the_way_lets_nobody_in(come, address):
  first = come(Member(address, 3, 0))
  between = Between(address)
  other = come(Member(between.address, 3, 2))
  while sum(b'"name"' in line for line in between.said) < 2:
    time.sleep(0.02)
  spoken = [line for line in between.said if b'"process": 2' in line]
  assert not any((RUN / secret.FILE).read_bytes() in line for line in between.said)
  for nonce in [line for line in between.said if line.startswith(b"robustjax")]:
    with stranger(address) as connection:  # says it again
      connection.sendall(nonce + spoken[0])
      heard = connection.makefile("rb").read()
      assert heard.count(b"\n") == 1  # a nonce, and no answer
  assert come.outcome(come(Member(address, 3, 1))) == [0]
  assert come.outcome(other) == [0] and come.outcome(first) == [1, 2]
  between.server.close()


def test_who_is_on_the_way_cannot_change_who_comes(come, address, capfd):
  first = come(Member(address, 3, 0))
  between = Between(
    address, lambda line: line.replace(b'"process": 1', b'"process": 2')
  )
  line = come.outcome(come(Member(between.address, 3, 1), 0.5))
  assert "process 0 of 3 is not at" in line
  assert "turned away 127.0.0.1: it does not know the secret" in capfd.readouterr().err
  others = [come(Member(address, 3, process)) for process in (1, 2)]
  assert [come.outcome(thread) for thread in others] == [[0], [0]]
  assert come.outcome(first) == [1, 2]
  between.server.close()


def test_who_knows_the_secret_and_floods_is_thrown_out(come, address):
  first = come(Member(address, 3, 0))
  with (
    caller(address, **OTHER | {"processes": 3}) as (connection, _),
    pytest.raises(OSError),
  ):
    until = time.monotonic() + 5
    while time.monotonic() < until:
      connection.sendall(b"x" * 4096)
  others = [come(Member(address, 3, process)) for process in (1, 2)]
  assert [come.outcome(thread) for thread in others] == [[0], [0]]
  assert come.outcome(first) == [1, 2]


def test_who_comes_is_named_without_control_characters(come, address, capfd):
  first = come(Member(address, 2, 0))
  for odd in ({"process": 2}, {"process": True}, {"processes": []}, {"jax": "\x1b[2J"}):
    name = {"name": "\x1b[31m\r" + "x" * 999}
    with caller(address, **OTHER | name | odd) as (_, answer):
      assert answer["status"] == 2 and answer["error"].isprintable()
  lines, until = [], time.monotonic() + 10
  while len(lines) < 3 and time.monotonic() < until:  # they come after the answers
    lines += [x for x in capfd.readouterr().err.splitlines() if "waiting" not in x]
  assert len(lines) == 3 and all(x.isprintable() and len(x) < 300 for x in lines)
  assert come.outcome(come(Member(address, 2, 1))) == [0]
  assert come.outcome(first) == [1]


def test_no_file_left_to_open_keeps_nobody_out(come, address, monkeypatch):
  accept, taken = socket.socket.accept, []

  def few(server):
    if sum(connection.fileno() >= 0 for connection in taken) >= 10:
      raise OSError(errno.EMFILE, "Too many open files")
    connection, where = accept(server)
    taken.append(connection)
    return connection, where

  monkeypatch.setattr(socket.socket, "accept", few)
  first = come(Member(address, 2, 0))
  strangers = [stranger(address) for _ in range(40)]
  assert come.outcome(come(Member(address, 2, 1))) == [0]
  assert come.outcome(first) == [1]
  for connection in strangers:
    connection.close()


def test_more_processes_than_files_is_one_line(come, address, monkeypatch):
  def none(server):
    raise OSError(errno.EMFILE, "Too many open files")

  monkeypatch.setattr(socket.socket, "accept", none)
  first = come(Member(address, 2, 0))
  with contextlib.suppress(ConnectionError):  # it may be turned away while it connects
    stranger(address).close()
  line = "no connection left (Too many open files): raise `ulimit -n`"
  assert line in come.outcome(first)


def test_a_name_of_several_addresses_is_found_by_any(come, address, monkeypatch):
  port = int(address.split(":")[1])
  found = [
    (socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, port))
    for number in ("192.0.2.1", "127.0.0.2", "127.0.0.1")
  ]  # the first is another machine's
  monkeypatch.setattr(meeting, "_GREETING", 0.2)
  known = socket.getaddrinfo
  monkeypatch.setattr(
    socket, "getaddrinfo",
    lambda host, *a, **k: found if host == "hosts" else known(host, *a, **k),
  )  # fmt: skip
  first = come(Member(f"hosts:{port}", 2, 0))
  stranger(address).close()
  assert come.outcome(come(Member(f"hosts:{port}", 2, 1))) == [0]
  assert come.outcome(first) == [1]


def test_a_secret_that_is_late_is_waited_for(come, address):
  other = come(Member(address, 2, 1))
  RUN.mkdir(parents=True)
  (RUN / secret.FILE).write_text("0" * 64)  # of an earlier start, and not private
  begin = time.monotonic()
  first = come(Member(address, 2, 0))
  assert come.outcome(other) == [0] and come.outcome(first) == [1]
  assert time.monotonic() - begin < 3


def test_a_folder_that_cannot_hold_the_secret_is_one_line(come, address):
  RUN.parent.mkdir()
  RUN.write_text("")
  line = come.outcome(come(Member(address, 2, 0)))
  assert (
    line == f"UserError: {RUN} cannot be written to (File exists): name another folder"
  )


def test_only_the_coordinators_own_address_is_listened_at(come, address):
  first = come(Member(address, 2, 0))
  stranger(address).close()
  with pytest.raises(ConnectionRefusedError):
    socket.create_connection(("127.0.0.2", int(address.split(":")[1])), 1)
  assert come.outcome(come(Member(address, 2, 1))) == [0]
  assert come.outcome(first) == [1]


def heard(connection):
  """Process 0's end of a connection, once the other process has said who it is."""
  peer = Peer(connection, secret.known(RUN), True)
  while not peer.receive(5):
    pass
  return peer


def test_what_others_say_is_printed_without_control_characters(come, capfd):
  with secret.made(RUN), socket.create_server(("127.0.0.1", 0)) as server:
    address = f"127.0.0.1:{server.getsockname()[1]}"
    follower = come(Member(address, 2, 1), 1.0)
    peer = heard(server.accept()[0])
    peer.send(name="\x1b[31m", waiting="\x1b[2J\nx")
    peer.send(error="\x1b[2Jgone")
    assert come.outcome(follower) == "UserError: ?[2Jgone"
    peer.socket.close()
  assert capfd.readouterr().err == "?[2J?x\n"


def test_another_program_at_the_address_is_not_process_0(come, capfd):
  with secret.made(RUN), socket.create_server(("127.0.0.1", 0)) as server:
    address = f"127.0.0.1:{server.getsockname()[1]}"
    follower = come(Member(address, 2, 1), 1.2)
    sayings = b"\x00\x00\x12\x04\n", NONCE + b"0" * 64 + b' {"error": "boo"}\n', b""
    for saying in sayings:
      connection, _ = server.accept()
      connection.sendall(saying)
      connection.close()
    server.close()
    line = come.outcome(follower)
  assert "Absent: process 0 of 2 is not at" in line
  assert "boo" not in line + capfd.readouterr().err


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


def test_a_process_0_that_hangs_is_given_up(come, monkeypatch):
  """It answers once, and then says nothing though it lives."""
  monkeypatch.setattr(meeting, "_REMIND", 0.1)
  with secret.made(RUN), socket.create_server(("127.0.0.1", 0)) as server:
    address = f"127.0.0.1:{server.getsockname()[1]}"
    follower = come(Member(address, 2, 1), 1.0)
    answered = []
    for _ in range(2):  # it tries again
      answered.append(heard(server.accept()[0]))
      answered[-1].send(name="x")
    server.close()
    assert "Absent: process 0 of 2 is not at" in come.outcome(follower)
    for peer in answered:
      peer.socket.close()


def test_a_machine_by_its_own_name_is_found_by_all_who_are_on_it(monkeypatch):
  found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.1.1", 0))]
  monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
  one, other = (Member("this-machine:0", 2, x).addresses() for x in (0, 1))
  assert one == other
  socket.create_server(one[0]).close()


def test_another_jax_is_refused(come, address, monkeypatch):
  first = come(Member(address, 2, 0))
  stranger(address).close()  # it waits
  with monkeypatch.context() as patch:
    patch.setattr(meeting, "version", lambda name: "0.1")
    line = come.outcome(come(Member(address, 2, 1)))
  assert "it has jax 0.1, jaxlib 0.1, and process 0 has jax " in line
  assert come.outcome(come(Member(address, 2, 1))) == [0]
  assert come.outcome(first) == [1]
