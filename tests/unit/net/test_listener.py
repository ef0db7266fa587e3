"""Before authentication, and at the door: deadlines, limits, keys, versions, files of unix sockets."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import stat
from types import SimpleNamespace

import pytest
from tests.unit.net.stage import KEY, Closed, Stage

from mpserve.net import door, listener
from mpserve.net.gate import SLOW_S, THIS_MACHINE, GateLimits
from mpserve.net.listener import LINGER_S
from mpshared.address import Address
from mpshared.wire.errors import AuthenticationRefused, ProtocolError, VersionMismatch
from mpshared.wire.own import frames

GREETING_S = GateLimits().auth_timeout_s


def ended(client):
    """Tell what the peer is told before the server closes the connection."""
    told = client.recv_all()
    client.close()
    return told


class TestGreeting:
    def test_an_honest_client(self, stage):
        program = stage.program()
        assert program.call("cluster.count").result == 0
        assert len(stage.peers) == 1

    def test_byte_by_byte(self, stage):
        client = stage.client()
        whole = client.send

        def send(data):
            for i in range(len(data)):
                whole(data[i : i + 1])
                stage.turn()

        client.send = send
        client.shake_hands().attach_new()
        assert client.call("cluster.count").result == 0

    def test_a_stalled_peer_is_dropped_at_its_deadline_and_stalls_nobody(self, stage):
        stalled, begun = stage.client(), stage.client()
        stage.until(lambda: len(stage.peers) == 2)
        begun.recv()
        begun.send(b"\0\0")
        program = stage.program()
        stage.advance(GREETING_S - 0.1)
        assert program.call("cluster.count").result == 0
        assert len(stage.peers) == 3
        stage.advance(0.2)
        assert len(stage.peers) == 1
        assert ended(stalled).startswith(b"\0\0\0")
        assert ended(begun) == b""
        assert len(stage.events("peer.refused")) == 2
        assert "10 s" in stage.events("peer.refused")[0]["reason"]
        assert program.call("cluster.count").result == 0

    def test_the_deadline_is_over_once_it_has_authenticated(self, stage):
        program = stage.program()
        stage.advance(GREETING_S + 1)
        assert program.call("cluster.count").result == 0

    @pytest.mark.parametrize(
        "data",
        [
            b"\0\0\1\1" + bytes(257),
            b"\x7f\xff\xff\xff",
            b"\xff\xff\xff\xff" + b"\0\0\0\1\0\0\0\0",
            b"\x80\0\0\0",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\0\0\0\x09#MPSERVE#",
            b"\0\0\0\x0a#MPSERVE#\xc0",
            b"\x16\x03\x01\x02\x00\x01\x00" + bytes(400),
            b"\0\0\0\x01x" * 300,
        ],
        ids=[
            "long frame",
            "2 GiB",
            "a long header",
            "negative",
            "http",
            "no hello",
            "nil",
            "tls",
            "many frames",
        ],
    )
    def test_whoever_says_something_else_is_refused_at_once(self, stage, data):
        program = stage.program()
        client = stage.client()
        client.send(data)
        told = ended(client)
        assert b"#FAILURE#" in told or b"refused" in told
        assert b"Traceback" not in told
        stage.until(lambda: len(stage.peers) == 1)
        [line] = stage.events("peer.refused")
        assert line["reason"]
        assert program.call("cluster.count").result == 0

    def test_a_wrong_key(self, stage):
        client = stage.client(b"another key, long enough")
        with pytest.raises(AuthenticationRefused, match="keys differ"):
            client.shake_hands()
        client.close()
        stage.until(lambda: not stage.peers)
        assert "another key" in stage.events("peer.refused")[0]["reason"]

    @pytest.mark.parametrize(("versions", "text"), [((2, 3), "2 to 3"), ((0, 0), "0 to 0")])
    def test_clients_from_the_future_and_from_the_past(self, stage, versions, text):
        client = stage.client()
        with pytest.raises(VersionMismatch) as caught:
            client.shake_hands(versions)
        assert caught.value.ours == versions
        assert caught.value.theirs == (1, 1)
        assert text in str(caught.value)
        assert "1 to 1" in str(caught.value)
        [line] = stage.events("peer.refused")
        assert text in line["reason"]
        assert "1 to 1" in line["reason"]

    def test_a_client_that_speaks_more_versions_is_served(self, stage):
        client = stage.client().shake_hands((0, 5)).attach_new()
        assert client.call("cluster.count").result == 0

    def test_what_comes_with_the_last_frame_is_not_lost(self, stage):
        """The client may send its first frame with its proof, without waiting for the server's."""
        client = stage.client()
        whole, sent = client.send, []

        def send(data):
            sent.append(data)
            described = {"new": {"role": "program", "python": [3, 11]}}
            if len(sent) == 2:
                data += b"".join(frames.encode_control(frames.Type.ATTACH, body=described))
            whole(data)

        client.send = send
        client.shake_hands()
        event = client.next_event()
        assert event.type is frames.Type.ATTACHED

    def test_who_comes_after_too_many_failures_is_heard_once_a_second_is_over(self, stage):
        gate = stage.server.listener.gate
        gate.limits = GateLimits(max_failures=0)
        gate.failed(THIS_MACHINE, stage.now_s)
        client = stage.client()
        stage.until(lambda: gate.held_so_far == 1)
        stage.advance(SLOW_S - 0.1)
        assert not stage.peers
        stage.advance(0.2)
        assert len(stage.peers) == 1
        assert client.shake_hands().attach_new().call("cluster.count").result == 0

    def test_too_many_at_once_the_oldest_gives_way(self, stage):
        stage.server.listener.gate.limits = GateLimits(max_unauthenticated=6)
        program = stage.program()
        waiting = [stage.client() for _ in range(4)]
        stage.until(lambda: stage.events("peer.refused"))
        assert len(stage.peers) == 4
        ended(waiting[0])
        for client in waiting[1:]:
            client.shake_hands()
        assert program.call("cluster.count").result == 0

    def test_refused_ones_that_stay_are_counted_too(self, stage, monkeypatch):
        monkeypatch.setattr(listener, "LINGERING_MAX", 3)
        for n in range(6):
            stage.client().send(b"\x80\0\0\0")
            stage.until(lambda n=n: len(stage.events("peer.refused")) == n + 1)
        stage.until(lambda: len(stage.peers) == 3)
        stage.advance(LINGER_S + 0.1)
        assert not stage.peers

    def test_who_has_authenticated_is_told_of_the_end_however_many_there_are(self, stage, monkeypatch):
        monkeypatch.setattr(listener, "LINGERING_MAX", 3)
        programs = [stage.program() for _ in range(6)]
        stage.server.listener.say_goodbye("gone")
        for program in programs:
            event = program.next_event()
            assert (event.type, event.body) == (frames.Type.GOODBYE, "gone")
            program.close()
        stage.until(lambda: not stage.peers)


@pytest.fixture
def no_files():
    """Use up the file descriptors of this process, or give them back."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def use_up():
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))

    def give_back():
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    yield SimpleNamespace(use_up=use_up, give_back=give_back)
    give_back()


class TestDoor:
    def test_out_of_files_who_knocks_is_told_at_once(self, stage, no_files):
        program = stage.program()
        knocking = [stage.connect() for _ in range(3)]
        no_files.use_up()
        for _ in range(5):
            stage.turn()
        assert stage.loop._poller.wait(0) == []  # nobody stands there any more
        assert len(stage.peers) == 1
        assert len(stage.events("server.full")) == 1
        assert program.call("cluster.count").result == 0
        no_files.give_back()
        for sock in knocking:
            assert b"#BUSY#" in stage.client(sock=sock).recv_all()
        assert stage.program().call("cluster.count").result == 0

    def test_without_a_reserve_it_is_shut_for_a_while(self, stage, no_files):
        program = stage.program()
        front, *_ = stage.server.listener._doors
        os.close(front._reserve)
        front._reserve = None
        taken = os.dup(0)  # somebody else was faster
        client = stage.client()
        no_files.use_up()
        for _ in range(5):
            stage.turn()
            assert stage.loop._poller.wait(0) == []
        assert front in stage.loop.timed
        stage.advance(door.PAUSE_S)
        stage.advance(door.PAUSE_S)
        assert program.call("cluster.count").result == 0
        assert len(stage.events("server.full")) == 1
        no_files.give_back()
        os.close(taken)
        stage.advance(door.PAUSE_S)
        client.shake_hands()
        assert front not in stage.loop.timed
        assert front._reserve is not None

    def test_a_failure_is_told_once_and_the_door_opens_again(self, stage, monkeypatch):
        program = stage.program()
        front, *_ = stage.server.listener._doors
        monkeypatch.setattr(front, "_welcome", lambda *_: 1 / 0)
        clients = [stage.client() for _ in range(3)]
        assert [ended(client) for client in clients] == [b""] * 3
        assert len(stage.events("server.cannot_accept")) == 1
        monkeypatch.undo()
        assert stage.program().call("cluster.count").result == 0
        assert program.call("cluster.count").result == 0

    def test_one_failure_does_not_keep_another_from_being_told(self, stage, no_files, monkeypatch):
        front, *_ = stage.server.listener._doors
        monkeypatch.setattr(front, "_welcome", lambda *_: 1 / 0)
        assert ended(stage.client()) == b""
        monkeypatch.undo()
        knocking = stage.connect()
        no_files.use_up()
        stage.turn()
        assert len(stage.events("server.cannot_accept")) == len(stage.events("server.full")) == 1
        no_files.give_back()
        assert b"#BUSY#" in stage.client(sock=knocking).recv_all()

    def test_shut_it_turns_in_no_circles(self, stage):
        front, *_ = stage.server.listener._doors
        front._shut()
        client = stage.client()
        for _ in range(20):
            stage.turn()
        assert not stage.peers
        stage.advance(door.PAUSE_S)
        client.shake_hands()
        assert len(stage.peers) == 1

    def test_shut_it_can_be_closed(self, stage):
        front, *_ = stage.server.listener._doors
        front._shut()
        stage.server.listener.stop_listening()
        assert front not in stage.loop.timed
        with pytest.raises(OSError):
            stage.connect()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix sockets here")
class TestUnixSocket:
    def test_is_its_owners_alone(self, tmp_path):
        stage = Stage(Address.unix(str(tmp_path / "s")))
        mode = (tmp_path / "s").stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        stage.close()
        assert not (tmp_path / "s").exists()

    def test_a_dead_servers_file_is_replaced(self, tmp_path):
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(tmp_path / "s"))
        left.close()
        stage = Stage(Address.unix(str(tmp_path / "s")))
        stage.program()
        stage.close()

    def test_a_living_servers_file_is_not(self, tmp_path):
        stage = Stage(Address.unix(str(tmp_path / "s")))
        with pytest.raises(OSError, match="in use"):
            Stage(Address.unix(str(tmp_path / "s")))
        assert stage.program().call("cluster.count").result == 0
        stage.close()

    def test_a_file_that_is_no_socket_is_not(self, tmp_path):
        (tmp_path / "s").write_text("precious")
        with pytest.raises(OSError, match="in use"):
            Stage(Address.unix(str(tmp_path / "s")))
        assert (tmp_path / "s").read_text() == "precious"

    def test_only_its_own_file_is_removed(self, tmp_path):
        stage = Stage(Address.unix(str(tmp_path / "s")))
        (tmp_path / "s").unlink()
        (tmp_path / "s").write_text("another's")
        stage.close()
        assert (tmp_path / "s").exists()


def test_a_lying_server_is_found_out(stage):
    """The other direction: a server that only repeats what it is told does not get in."""
    client = stage.client()
    ours, theirs = socket.socketpair()
    client.sock.close()
    client.sock = ours
    ours.setblocking(False)
    echo = b"\0\0\0\x0b#CHALLENGE#"
    theirs.sendall(echo)
    client._wait = lambda *_: theirs.sendall(theirs.recv(1000))
    with pytest.raises((ProtocolError, AuthenticationRefused, Closed)):
        client.shake_hands()
    theirs.close()
    assert KEY


class TestVanished:
    """A host that lost its power, or the way here, says nothing; only asking finds out."""

    @pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system cannot be told so")
    def test_connections_are_asked_for_life(self):
        with contextlib.closing(Stage()) as stage:
            stage.program()
            sock = stage.peers[0]._sock
            self.check(sock)

    def check(self, sock):
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        options = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        found = [sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in options]
        assert found == [10, 5, 4, 30_000]
