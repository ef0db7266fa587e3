"""One connection: how it is read, written, held back, and ended."""

from __future__ import annotations

import pickle
import socket

import pytest
from tests.unit.net.stage import Closed, Stage

from mpserve.net import peer as peer_module
from mpserve.net.listener import LINGER_S, STALLED_S
from mpserve.net.outbox import Outbox
from mpshared.errors import SessionExpired, make
from mpshared.wire.own import frames
from mpshared.wire.own.frames import Failed, FrameDecoder, Type

BIG = bytes(3 << 20)


def only(stage):
    [peer] = stage.peers
    return peer


def noting(sizes, way):
    """Return a way of an outbox that notes first how much is in it."""

    def noted(outbox, sock):
        sizes.append(outbox.size_bytes)
        return way(outbox, sock)

    return noted


class TestOut:
    def test_a_large_answer_arrives_whole(self, stage):
        program = stage.program()
        box = program.open("dict")
        value = pickle.dumps(bytes(range(256)) * 40_000)
        program.call("dict.set", box, "k", blobs=[value])
        assert program.call("dict.get", box, "k").blobs == (value,)

    def test_who_put_a_large_item_is_answered_before_another_is_sent_it(self, stage, monkeypatch):
        getter, program = stage.program(), stage.program()
        line = program.open("queue")
        getter.send(getter.encode("queue.get", line, None, False))
        stage.turn()
        sizes: list[int] = []
        for name in ("flush", "sent_at_once"):
            monkeypatch.setattr(Outbox, name, noting(sizes, getattr(Outbox, name)))
        assert program.call("queue.put", line, None, blobs=[BIG]).result is None
        assert getter.next_event().blobs == (BIG,)
        assert sizes[0] < peer_module.READ_BYTES < len(BIG) <= sizes[1]

    def test_many_answers_in_order(self, stage):
        program = stage.program()
        box = program.open("dict")
        data = b"".join(program.encode("dict.incr", box, "n", 1) for _ in range(60))
        program.send(data)
        assert [program.next_event().result for _ in range(60)] == list(range(1, 61))

    def test_who_does_not_read_is_bounded_and_stalls_nobody(self, stage):
        program, other = stage.program(), stage.program()
        box = program.open("dict")
        program.call("dict.set", box, "k", blobs=[BIG])
        stuck = next(peer for peer in stage.peers if peer.side._session.id == program.session)
        calls = b"".join(program.encode("dict.get", box, "k") for _ in range(50))
        program.sock.send(calls)
        for _ in range(100):
            stage.turn()
            assert other.call("cluster.count").result == 1
            assert stuck._outbox.size_bytes < peer_module.HIGH_BYTES + len(BIG) + 1000
        program.sock.send(program.encode("dict.get", box, "k"))
        assert [len(program.next_event().blobs[0]) for _ in range(51)] == [len(BIG)] * 51

    @pytest.mark.parametrize("stage", ["tcp patient", "unix patient"], indirect=True)
    def test_who_takes_nothing_for_long_is_dropped_alone_and_may_ask_again(self, stage):
        program, other = stage.program(), stage.program()
        box = program.open("dict")
        program.call("dict.set", box, "k", blobs=[BIG])
        stuck = next(peer for peer in stage.peers if peer.side._session.id == program.session)
        program.sock.send(b"".join(program.encode("dict.get", box, "k") for _ in range(9)))
        stage.until(lambda: stuck._stalls)
        stage.advance(STALLED_S - 1)
        left = stuck._outbox.size_bytes
        while stuck._outbox.size_bytes == left:  # as soon as it has taken something its time begins anew
            program.recv(1 << 20)
            stage.turn()
        stage.advance(STALLED_S - 1)
        assert stuck in stage.peers
        stage.advance(2)
        assert stuck not in stage.peers
        assert [event["reason"][:24] for event in stage.events("peer.dropped")] == [
            "it has read nothing of w"
        ]
        assert stage.server.listener.gate.refused == {"stalled": 1}
        assert other.call("cluster.count").result == 1
        again = stage.client().shake_hands()
        last = again.attach(program, 0)
        again.send(again.encode("dict.get", box, "k", number=last))
        assert len(again.next_event().blobs[0]) == len(BIG)
        again.close()
        stage.until(lambda: len(stage.peers) == 1)

    def test_who_reads_again_is_listened_to_again(self, stage):
        program = stage.program()
        box = program.open("dict")
        program.call("dict.set", box, "k", blobs=[BIG])
        for _ in range(3):
            for _ in range(4):
                program.send(program.encode("dict.get", box, "k"))
            assert [len(program.next_event().blobs[0]) for _ in range(4)] == [len(BIG)] * 4
        assert program.call("cluster.count").result == 1


class TestTheEnd:
    def test_the_last_error_arrives_although_more_was_sent(self, stage):
        """Bytes that the server has not read must not turn its close into a reset that destroys the error."""
        program = stage.program()
        box = program.open("dict")
        bad = b"".join(frames.encode_reply(0, 1, None, ()))
        program.send(bad)
        rest = program.encode("dict.set", box, "k", blobs=[BIG])
        program.sock.send(rest)  # as much as the system takes
        stage.until(lambda: stage.events("peer.closed"))
        program.sock.send(rest) if stage.address.is_unix else None
        event = program.next_event()
        assert isinstance(event, Failed)
        assert "no answers" in event.text
        with pytest.raises(Closed):
            program.next_event()
        program.close()
        stage.until(lambda: not stage.peers)

    def test_a_large_answer_and_then_the_error(self, stage):
        program = stage.program()
        box = program.open("dict")
        program.call("dict.set", box, "k", blobs=[BIG])
        program.send(program.encode("dict.get", box, "k") + b"\xff" * 40)
        stage.turn()
        assert program.next_event().blobs == (BIG,)
        assert isinstance(program.next_event(), Failed)
        with pytest.raises(Closed):
            program.next_event()

    def test_a_closing_peer_that_reads_nothing_is_not_kept(self, stage, monkeypatch):
        monkeypatch.setattr(peer_module, "HIGH_BYTES", 1 << 30)  # else its mistake would not be read
        program = stage.program()
        box = program.open("dict")
        program.call("dict.set", box, "k", blobs=[BIG])
        program.send(b"".join(program.encode("dict.get", box, "k") for _ in range(12)) + b"\xff" * 40)
        stage.until(lambda: stage.events("peer.closed"))
        for _ in range(20):
            stage.turn()
        assert only(stage)._outbox.size_bytes
        stage.advance(LINGER_S + 0.1)
        assert not stage.peers

    def test_a_refused_peer_that_stays_is_closed_after_a_while(self, stage):
        program = stage.program()
        program.send(b"\xff" * 40)
        stage.until(lambda: stage.events("peer.closed"))
        stage.advance(LINGER_S - 0.1)
        assert stage.peers
        program.sock.send(b"more that nobody reads")
        stage.turn()
        stage.advance(0.2)
        assert not stage.peers

    def test_a_refused_peer_loses_its_lanes_at_once(self, stage):
        program, other = stage.program(), stage.program()
        lock = program.open("lock")
        program.call("lock.acquire", lock, None)
        program.send(b"\xff" * 40)
        stage.until(lambda: stage.events("peer.closed"))
        stage.advance(0.6)
        assert other.call("cluster.list_objects").result == []
        stage.until(lambda: stage.server.engine.find_session(program.session) is None)

    def test_half_closed_by_the_client(self, stage):
        """Answers to what was asked arrive; then the client counts as gone."""
        program = stage.program()
        program.send(program.encode("cluster.count"))
        program.sock.shutdown(socket.SHUT_WR)
        assert program.next_event().result == 0
        with pytest.raises(Closed):
            program.next_event()
        assert not stage.peers
        stage.advance(0.6)
        assert stage.server.engine.find_session(program.session) is None

    @pytest.mark.parametrize("reset", [False, True])
    def test_gone_in_the_middle_of_a_frame(self, stage, reset):
        program = stage.program()
        program.send(program.encode("cluster.count")[:20])
        stage.turn()
        program.close(reset=reset and not stage.address.is_unix)
        stage.until(lambda: not stage.peers)
        assert stage.server.engine.find_session(program.session).lanes[0].suspended

    def test_gone_with_answers_on_their_way(self, stage):
        program, other = stage.program(), stage.program()
        box = program.open("dict")
        program.call("dict.set", box, "k", blobs=[BIG])
        for _ in range(4):
            program.send(program.encode("dict.get", box, "k"))
        stage.turn()
        program.close()
        stage.until(lambda: len(stage.peers) == 1)
        assert other.call("cluster.count").result == 1

    def test_goodbye_of_the_client(self, stage):
        program = stage.program()
        program.control(Type.GOODBYE, body="bye")
        told = program.next_event()
        assert (told.type, told.body) == (Type.GOODBYE, "bye")
        with pytest.raises(Closed):
            program.next_event()
        program.close()
        stage.until(lambda: not stage.peers)
        assert stage.server.engine.find_session(program.session) is None
        assert not stage.events("session.lost")

    def test_goodbye_of_the_server_reaches_who_waits(self, stage):
        program = stage.program()
        event = program.open("event")
        program.send(program.encode("event.wait", event, None))
        stage.turn()
        unknown = stage.client()
        stage.until(lambda: len(stage.peers) == 2)
        stage.server.listener.say_goodbye("gone")
        stage.turn()
        told = program.next_event()
        assert told.type is Type.GOODBYE
        assert told.body == "gone"
        with pytest.raises(Closed):
            program.next_event()
        assert unknown.recv_all()[:3] == b"\0\0\0"

    def test_a_session_ended_by_the_server_is_told(self, stage):
        program, other = stage.program(), stage.program()
        stage.now_s += 29
        other.control(Type.HEARTBEAT, body=[])
        stage.turn()
        stage.advance(2)
        event = program.next_event()
        assert isinstance(event, Failed)
        assert isinstance(make(event.code, event.text, event.fields), SessionExpired)
        assert "silent" in event.text
        assert other.call("cluster.count").result == 0

    def test_who_comes_back_too_late_is_told_and_the_log_is_not_told_again(self, stage):
        program = stage.program()
        program.close()
        stage.until(lambda: not stage.peers)
        stage.advance(1)
        assert stage.events("session.lost")
        late = stage.client().shake_hands()
        late.control(Type.ATTACH, body={"session": program.session, "secret": program.secret, "lane": 1})
        event = late.next_event()
        assert isinstance(make(event.code, event.text, event.fields), SessionExpired)
        with pytest.raises(Closed):
            late.next_event()
        assert not stage.events("peer.closed")

    def test_a_mistake_of_ours_costs_one_connection(self, stage, monkeypatch):
        program, other = stage.program(), stage.program()
        side = next(peer.side for peer in stage.peers if peer.side._session.id == program.session)
        monkeypatch.setattr(type(side), "_heartbeat", None)
        monkeypatch.setattr(type(side), "_control", lambda *_: 1 / 0)
        program.control(Type.HEARTBEAT, body=[])
        assert program.recv_all() == b""
        monkeypatch.undo()
        [line] = stage.events("peer.failed")
        assert "ZeroDivisionError" in line["error"]
        assert other.call("cluster.count").result == 0


class TestLimits:
    @pytest.fixture
    def stage(self):
        stage = Stage(max_message=1 << 20)
        yield stage
        stage.close()

    def test_a_message_over_the_limit_is_refused_before_it_comes(self, stage):
        program = stage.program()
        box = program.open("dict")
        peer = only(stage)
        program.send(program.encode("dict.set", box, "k", blobs=[bytes(2 << 20)])[:32])
        event = program.next_event()
        assert isinstance(event, Failed)
        assert "1048576 accepted" in event.text
        assert peer.side is None

    def test_one_at_the_limit_is_not(self, stage):
        program = stage.program()
        box = program.open("dict")
        value = bytes((1 << 20) - 100)
        program.call("dict.set", box, "k", blobs=[value])
        assert program.call("dict.get", box, "k").blobs == (value,)

    def test_a_head_over_the_limit(self, stage):
        program = stage.program()
        program.send(b"\0\x0f\xff\xff\x01" + bytes(23) + b"\x10\0\0\0")
        assert isinstance(program.next_event(), Failed)

    def test_a_large_message_in_small_pieces(self, stage):
        program = stage.program()
        box = program.open("dict")
        value = pickle.dumps(bytes(range(256)) * 2000)
        data = program.encode("dict.set", box, "k", blobs=[value])
        for at in range(0, len(data), 8191):
            program.send(data[at : at + 8191])
            stage.turn()
        assert program.next_event().result is None
        assert program.call("dict.get", box, "k").blobs == (value,)


def test_the_bytes_of_two_peers_do_not_mix(stage):
    programs = [stage.program() for _ in range(3)]
    boxes = [program.open("dict") for program in programs]
    datas = [
        program.encode("dict.set", box, "k", blobs=[pickle.dumps(str(box) * 30_000)])
        for program, box in zip(programs, boxes, strict=True)
    ]
    for at in range(0, max(map(len, datas)), 70_000):
        for program, data in zip(programs, datas, strict=True):
            program.send(data[at : at + 70_000])
        stage.turn()
    for program, box in zip(programs, boxes, strict=True):
        assert program.next_event().result is None
        assert pickle.loads(program.call("dict.get", box, "k").blobs[0]) == str(box) * 30_000


def test_a_reply_cut_anywhere_is_read_whole(stage):
    """The client's decoder and the server's outbox: any cut of the stream is the same stream."""
    program = stage.program()
    box = program.open("list")
    program.send(program.encode("list.extend", box, blobs=[pickle.dumps(n) for n in range(50)]))
    program.send(program.encode("list.snapshot", box))
    data = b""
    decoder = FrameDecoder(1 << 20)
    found = []
    while len(found) < 2:
        data = program.recv(7)
        decoder.receive_data(data)
        while (event := decoder.next_event()) is not None:
            found.append(event)
    assert len(found[1].blobs) == 50
