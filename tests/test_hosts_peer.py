"""Lines between two processes that prove who they are from."""

import socket

import pytest

from robustjax.hosts.peer import Peer, Stranger


@pytest.fixture
def ends():
  with (
    socket.create_server(("127.0.0.1", 0)) as server,
    socket.create_connection(server.getsockname()) as one,
    server.accept()[0] as other,
  ):
    yield one, other


def greeted(ends, *secrets):
  peers = [Peer(end, secrets[i], i == 0) for i, end in enumerate(ends)]
  assert [peer.receive(5) for peer in peers] == [{}, {}]
  return peers


def test_lines_arrive_in_order_and_no_byte_more_is_read(ends):
  first, second = greeted(ends, b"secret", b"secret")
  first.send(a=1)
  first.send(b="x" * 3000)
  ends[0].sendall(b"of JAX\n")
  assert [second.receive(5), second.receive(5)] == [{"a": 1}, {"b": "x" * 3000}]
  second.socket.settimeout(5)
  assert second.socket.recv(99) == b"of JAX\n"


def test_half_a_line_is_kept_until_the_rest_comes(ends):
  first, second = greeted(ends, b"secret", b"secret")
  first.send(a=1)
  line = ends[1].recv(4096)
  ends[0].sendall(line[:70])
  assert second.receive(0.05) is None
  ends[0].sendall(line[70:])
  assert second.receive(5) == {"a": 1}


@pytest.mark.parametrize("back", [False, True])
def test_a_line_counts_once_and_for_the_other_side_alone(ends, back):
  first, second = greeted(ends, b"secret", b"secret")
  first.send(a=1)
  line = ends[1].recv(4096, socket.MSG_PEEK)
  assert b"secret" not in line and second.receive(5) == {"a": 1}
  ends[back].sendall(line)
  with pytest.raises(Stranger):
    (first if back else second).receive(5)


def test_another_secret_is_noticed_by_both(ends):
  first, second = greeted(ends, b"secret", b"another")
  first.send(a=1)
  second.send(a=1)
  for peer in first, second:
    with pytest.raises(Stranger, match="does not know the secret"):
      peer.receive(5)


def test_what_has_ended_is_an_error(ends):
  first, _ = greeted(ends, b"secret", b"secret")
  assert not first.left()
  ends[1].close()
  with pytest.raises(ConnectionResetError):
    first.receive(5)
  assert first.left()
