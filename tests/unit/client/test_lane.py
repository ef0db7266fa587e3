"""Lanes and sessions against a peer that does as it is told: numbers, resends, abandonment, goodbyes."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from tests.unit.client.peer import CUT, attached, reply

from mpclient.testing import wait_until
from mpclient.transport import patience
from mpshared.errors import (
    BadValue,
    Empty,
    NoRoom,
    ProtocolViolation,
    ServerGone,
    ServerRestarted,
    SessionExpired,
    TooBig,
)
from mpshared.ops import BY_NAME
from mpshared.wire.own.frames import Call, Type, encode_control, encode_error, encode_reply

QSIZE, GET, PUT = BY_NAME["queue.qsize"], BY_NAME["queue.get"], BY_NAME["queue.put"]


def numbers(peer):
    return [(call.number, call.ack) for call in peer.calls]


def answering(peer, answer):
    """Have calls answered by `answer(call)`."""
    peer.script = lambda event: answer(event) if isinstance(event, Call) else None


def test_calls_are_numbered_and_acknowledged(peer, session):
    answering(peer, lambda call: reply(call, call.number * 10))
    assert [session.call(QSIZE, "q", []).result for _ in range(3)] == [10, 20, 30]
    assert numbers(peer) == [(1, 0), (2, 1), (3, 2)]
    assert {(call.lane, call.target, call.op) for call in peer.calls} == {(1, "q", QSIZE.code)}


def test_errors_count_as_answers(peer, session):
    answering(peer, lambda call: encode_error(call.lane, call.number, "empty", "nothing", {}))
    for _ in range(2):
        with pytest.raises(Empty, match="nothing"):
            session.call(GET, "q", [0, False])
    assert numbers(peer) == [(1, 0), (2, 1)]


def test_a_patient_call_is_made_again_while_the_server_cannot_write(peer, session, monkeypatch):
    monkeypatch.setattr("mpclient.session._NO_JOURNAL_S", 0.0)

    def answer(call):
        full = encode_error(call.lane, call.number, "no_room", "full", {"journal": True})
        return full if len(peer.calls) < 4 else reply(call, "done")

    answering(peer, answer)
    assert session.call_patiently(GET, "q", [5.0, False]).result == "done"
    assert [(call.number, call.args) for call in peer.calls] == [(n, [5.0, False]) for n in range(1, 5)]
    answering(peer, lambda call: encode_error(call.lane, call.number, "no_room", "a limit", {}))
    with pytest.raises(NoRoom, match="a limit"):
        session.call_patiently(GET, "q", [5.0, False])


def test_control_and_lanes_name_the_session(peer, session):
    answering(peer, reply)
    session.call(QSIZE, "q", [])
    control, lane = peer.attaches
    assert control["control"] is True
    assert control["new"]["role"] == "program"
    assert lane == {"session": "session", "secret": "secret", "lane": 1}


def test_each_thread_has_its_own_numbers(peer, session, in_thread):
    answering(peer, reply)
    for _ in range(2):
        in_thread(lambda: session.call(QSIZE, "q", []))
    session.call(QSIZE, "q", [])
    assert sorted((call.lane, call.number) for call in peer.calls) == [(1, 1), (2, 1), (3, 1)]


def test_the_end_of_a_thread_closes_its_lane(peer, session, in_thread):
    answering(peer, reply)
    in_thread(lambda: session.call(QSIZE, "q", []))
    wait_until(lambda: any(c.type is Type.LANE_CLOSED for c in peer.controls))
    [closed] = [c for c in peer.controls if c.type is Type.LANE_CLOSED]
    assert (closed.lane, closed.ack) == (1, 1)


def test_a_lost_call_is_sent_again_under_its_number(peer, session):
    answering(peer, lambda call: CUT if len(peer.calls) < 3 else reply(call, "done"))
    assert session.call(QSIZE, "q", []).result == "done"
    assert numbers(peer) == [(1, 0)] * 3
    assert session.call(QSIZE, "q", []).result == "done"
    assert numbers(peer)[-1] == (2, 1)


def test_a_call_that_waits_lives_through_restarts_however_long_ago_the_first_one_was(
    peer, session, monkeypatch
):
    now_s = [1000.0]
    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    asked = patience.Patience.asked

    def then_hours_go_by(self):
        asked(self)
        now_s[0] += 3600.0

    monkeypatch.setattr(patience.Patience, "asked", then_hours_go_by)
    answering(peer, lambda call: CUT if len(peer.calls) < 5 else reply(call, "done"))
    assert session.call(QSIZE, "q", []).result == "done"
    assert numbers(peer) == [(1, 0)] * 5


def test_a_resent_call_has_what_is_left_of_its_timeout(peer, session):
    answering(peer, lambda call: CUT if len(peer.calls) < 2 else reply(call))
    session.call(GET, "q", [5.0, False])
    first, second = (call.args[0] for call in peer.calls)
    assert 0 < second < first == 5.0
    answering(peer, lambda call: CUT if len(peer.calls) < 4 else reply(call))
    session.call(GET, "q", [None, False])
    assert [call.args[0] for call in peer.calls[2:]] == [None, None]


def test_a_timeout_that_ends_while_nobody_can_be_asked(peer, session):
    answering(peer, lambda _: CUT)
    with pytest.raises(ServerGone, match="timeout of this call ran out"):
        session.call(GET, "q", [0.05, False])


def test_reading_is_part_of_the_call(peer, session):
    answering(peer, lambda call: reply(call, 1, b"N."))
    assert session.call(QSIZE, "q", [], read=lambda answer: answer.blobs) == (b"N.",)

    def fail(_):
        raise LookupError

    with pytest.raises(LookupError):  # the answer came: this call is not taken back
        session.call(QSIZE, "q", [], read=fail)
    session.call(QSIZE, "q", [])
    assert numbers(peer)[-1] == (3, 2)
    assert not [c for c in peer.controls if c.type is Type.ABANDON]


def test_an_answer_may_come_before_the_lane_is_attached_again(peer, session):
    def answer(event):
        if isinstance(event, Call):
            return CUT if len(peer.calls) == 1 else None
        if event.type is Type.ATTACH and peer.calls:
            return [*reply(peer.calls[0], "early"), *attached(event.body, {1: 1})]
        return None

    peer.script = answer
    assert session.call(QSIZE, "q", []).result == "early"


class Broken(BaseException):
    """What a signal handler may raise."""


class TestAbandoned:
    def test_while_reading(self, peer, session):
        """The answer came, the caller never had it: the server is told so before the next call."""
        answering(peer, reply)
        peer.last = {1: 1}

        def fail(_):
            raise Broken

        with pytest.raises(Broken):
            session.call(GET, "q", [None, False], read=fail)
        session.call(QSIZE, "q", [])
        assert [(c.type, c.lane, c.number) for c in peer.controls] == [(Type.ABANDON, 1, 1)]
        assert numbers(peer) == [(1, 0), (2, 1)]

    def test_is_told_at_once(self, peer, session):
        answering(peer, reply)
        peer.last = {1: 1}

        def fail(_):
            raise Broken

        with pytest.raises(Broken):
            session.call(GET, "q", [None, False], read=fail)
        wait_until(lambda: any(c.type is Type.ABANDON for c in peer.controls))

    def test_a_number_the_server_never_saw_is_used_again(self, peer, session):
        answering(peer, reply)
        session.call(QSIZE, "q", [])

        def fail(_):
            raise Broken

        peer.last = {1: 1}
        with pytest.raises(Broken):
            session.call(GET, "q", [None, False], read=fail)
        session.call(QSIZE, "q", [])
        assert numbers(peer) == [(1, 0), (2, 1), (2, 1)]
        assert not [c for c in peer.controls if c.type is Type.ABANDON]

    def test_late_answers_are_dropped(self, peer, session):
        answering(
            peer, lambda call: [*encode_reply(call.lane, call.number - 1, "late", ()), *reply(call, "right")]
        )
        session.call(QSIZE, "q", [])
        assert session.call(QSIZE, "q", []).result == "right"


class TestRefused:
    def test_the_session_expired(self, peer, session):
        answering(peer, reply)
        session.call(QSIZE, "q", [])
        expired = encode_error(0, 0, "session_expired", "it was silent", {"epoch": "epoch"})
        peer.script = lambda event: (
            CUT if isinstance(event, Call) else expired if "session" in event.body else None
        )
        with pytest.raises(SessionExpired, match="silent"):
            session.call(QSIZE, "q", [])
        answering(peer, lambda call: reply(call, "new"))
        assert session.call(QSIZE, "q", []).result == "new"
        assert numbers(peer)[-1] == (1, 0)

    def test_the_server_is_another_one(self, peer, session):
        answering(peer, reply)
        session.call(QSIZE, "q", [])
        expired = encode_error(0, 0, "session_expired", "unknown", {"epoch": "another"})
        peer.script = lambda event: (
            CUT if isinstance(event, Call) else expired if "session" in event.body else None
        )
        with pytest.raises(ServerRestarted, match="restarted"):
            session.call(QSIZE, "q", [])

    def test_every_thread_hears_it_once(self, peer, session):
        answering(peer, reply)
        outcomes: list[str] = []
        ready, go = threading.Barrier(3), threading.Event()

        def work():
            session.call(QSIZE, "q", [])
            ready.wait(10)
            go.wait(10)
            for _ in range(2):
                try:
                    session.call(QSIZE, "q", [])
                    outcomes.append("answered")
                except SessionExpired:
                    outcomes.append("expired")

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        ready.wait(10)
        session.end(session.start(), SessionExpired("over"))
        go.set()
        for thread in threads:
            thread.join(10)
        assert sorted(outcomes) == ["answered", "answered", "expired", "expired"]

    def test_an_error_about_the_whole_connection(self, peer, session):
        answering(peer, lambda _: encode_error(0, 0, "protocol", "you broke it", {}))
        with pytest.raises(ProtocolViolation, match="you broke it"):
            session.call(QSIZE, "q", [])

    def test_an_answer_to_what_was_not_asked(self, peer, session):
        answering(peer, lambda call: encode_reply(call.lane, call.number + 1, None, ()))
        with pytest.raises(ProtocolViolation, match="was asked"):
            session.call(QSIZE, "q", [])


def test_an_abandoned_call_is_named_until_a_later_one_is_answered(peer, session):
    answering(peer, reply)
    peer.last = {1: 1}

    def interrupted(_):
        peer.script = lambda event: CUT if event.type is Type.ABANDON else None
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.call(GET, "q", [None, False], read=interrupted)
    wait_until(lambda: bool(peer.controls))
    answering(peer, lambda call: CUT if len(peer.calls) == 2 else reply(call))
    session.call(QSIZE, "q", [])
    session.call(QSIZE, "q", [])
    peer.cut()
    session.call(QSIZE, "q", [])
    assert [(c.type, c.number) for c in peer.controls] == [(Type.ABANDON, 1)] * 3
    assert numbers(peer) == [(1, 0), (2, 1), (2, 1), (3, 2), (4, 3)]


def test_the_lane_of_an_idle_thread_is_mended_although_the_control_is_whole(peer, session):
    answering(peer, reply)
    peer.session_timeout_s = 0.3
    session.call(QSIZE, "q", [])
    failing = [CUT, CUT]
    peer.script = lambda event: failing.pop() if event.type is Type.ATTACH and failing else None
    peer.cut(but=1)
    wait_until(lambda: len(peer.attaches) == 5)
    assert [body["lane"] for body in peer.attaches[1:]] == [1] * 4
    answering(peer, reply)
    session.call(QSIZE, "q", [])
    assert len(peer.attaches) == 5


class TestGoodbye:
    def test_gone(self, peer, session):
        answering(peer, lambda _: encode_control(Type.GOODBYE, body="gone"))
        with pytest.raises(ServerGone, match="stopped"):
            session.call(QSIZE, "q", [])

    def test_restarting_is_waited_for(self, peer, session):
        goodbye = encode_control(Type.GOODBYE, body="restarting")
        answering(peer, lambda call: goodbye if len(peer.calls) < 2 else reply(call, "back"))
        assert session.call(QSIZE, "q", []).result == "back"

    def test_ours_comes_after_the_acknowledgements(self, peer, session):
        answering(peer, reply)
        session.call(QSIZE, "q", [])
        session.call(QSIZE, "q", [])
        session.close()
        wait_until(lambda: any(c.type is Type.GOODBYE for c in peer.controls))
        assert [(c.type, c.lane, c.ack) for c in peer.controls] == [(Type.ACK, 1, 2), (Type.GOODBYE, 0, 0)]

    def test_ours_is_said_again_with_all_before_it_until_it_is_answered(self, peer, session):
        answering(peer, reply)
        session.call(QSIZE, "q", [])
        first = set()

        def swallow(event):
            if event.type in first:
                return None
            first.add(event.type)
            return CUT

        peer.script = lambda event: swallow(event) if event.type in {Type.ACK, Type.GOODBYE} else None
        session.close()
        ack = (Type.ACK, 1)
        assert [(c.type, c.ack) for c in peer.controls] == [
            ack,
            ack,
            (Type.GOODBYE, 0),
            ack,
            (Type.GOODBYE, 0),
        ]
        assert [body.get("lane") for body in peer.attaches] == [None, 1, 0, 0]

    def test_a_program_that_ends_while_it_looks_for_its_server_says_it_all_the_same(self, peer, session):
        answering(peer, reply)
        session.call(QSIZE, "q", [])
        peer.script = lambda event: CUT if event.type is Type.ATTACH and not session.closed else None
        tries = len(peer.attaches)
        peer.say(encode_control(Type.GOODBYE, body="restarting"))
        wait_until(lambda: len(peer.attaches) > tries + 2)
        session.close()
        assert [(c.type, c.ack) for c in peer.controls] == [(Type.ACK, 1), (Type.GOODBYE, 0)]

    def test_a_server_that_answers_none_ends_it_with_what_it_says_of_the_session(self, peer, session):
        answering(peer, reply)
        session.call(QSIZE, "q", [])
        over = encode_error(0, 0, "session_expired", "no such session", {"epoch": "epoch"})
        answers = {Type.GOODBYE: CUT, Type.ATTACH: over}
        peer.script = lambda event: answers.get(event.type)
        session.close()
        assert [c.type for c in peer.controls] == [Type.ACK, Type.GOODBYE]

    def test_the_end_of_a_thread_is_told_until_it_is_heard(self, peer, session, in_thread):
        answering(peer, reply)
        in_thread(lambda: session.call(QSIZE, "q", []))
        wait_until(lambda: bool(peer.controls))
        peer.cut()  # nobody knows what of it had arrived
        session.close()
        told = [(c.type, c.lane, c.ack) for c in peer.controls]
        assert told[1] == told[0] == (Type.LANE_CLOSED, 1, 1)
        assert told[-1] == (Type.GOODBYE, 0, 0)


class TestLimits:
    def test_a_message_over_the_servers_limit_is_not_sent(self, peer, session):
        answering(peer, reply)
        session.call(QSIZE, "q", [])
        with pytest.raises(TooBig, match="--max-message"):
            session.call(PUT, "q", [None], [b"x" * (2 << 20)])
        session.call(QSIZE, "q", [])
        assert numbers(peer) == [(1, 0), (2, 1)]

    def test_arguments_that_cannot_travel(self, peer, session):
        answering(peer, reply)
        with pytest.raises(BadValue, match="queue.get"):
            session.call(GET, "q", [None, object()])
        session.call(QSIZE, "q", [])
        assert numbers(peer) == [(1, 0)]


class TestReferences:
    def test_dropped_ones_are_told_together(self, peer, session):
        answering(peer, reply)
        session.start()
        handles = [session.claim(ident) for ident in ("a", "b", "a")]
        del handles
        wait_until(lambda: bool(peer.calls))
        [call] = peer.calls
        assert (call.lane, call.op) == (0, BY_NAME["cluster.drop"].code)
        assert sorted(call.args[0]) == [["a", 2], ["b", 1]]

    def test_lent_ones_are_told_before(self, peer, session):
        answering(peer, reply)
        session.start()
        handle = session.claim("a")
        handle.lend()
        handle.lend()
        del handle
        wait_until(lambda: len(peer.calls) == 2)
        assert [call.op for call in peer.calls] == [
            BY_NAME["cluster.lend"].code,
            BY_NAME["cluster.drop"].code,
        ]
        assert peer.calls[0].args == [["a"]]

    def test_what_is_not_answered_is_sent_again(self, peer, session):
        answering(peer, lambda call: CUT if len(peer.calls) == 1 else reply(call))
        session.start()
        session.claim("a")
        wait_until(lambda: len(peer.calls) == 2)
        assert [call.number for call in peer.calls] == [1, 1]

    def test_a_new_session_adopts_what_is_held(self, peer, session):
        answering(peer, reply)
        term = session.start()
        held = [session.claim("a"), session.claim("b")]
        session.end(term, SessionExpired("over"))
        session.start()
        assert [call.args for call in peer.calls] == [[["a", "b"]]]
        assert [handle.count for handle in held] == [1, 1]
