"""Our protocol's server side over a transport in memory: attaching, lanes, controls, refusals."""

from __future__ import annotations

import pickle

import pytest
from tests.contract.rigs import GRACE_S, TIMEOUT_S
from tests.contract.wired_rig import Wire, WiredRig
from tests.unit.dispatch.asking import NEW, call, numbers, refused

from mpserve.dispatch.dispatcher import Limits
from mpserve.dispatch.own import LARGE_BYTES
from mpshared import __version__, errors
from mpshared.wire.own import frames
from mpshared.wire.own.frames import Type

A, B, C = (pickle.dumps(letter) for letter in "abc")
LARGE = bytes(LARGE_BYTES)


class TestAttaching:
    def test_a_new_session_is_told_everything(self, rig):
        wire = Wire(rig)
        told = wire.attach({"new": NEW})
        assert told["version"] == __version__
        assert told["limits"] == {"max_message": 256 << 20, "unanswered": 64, "kept_bytes": 256 << 20}
        assert told["session_timeout_s"] == TIMEOUT_S
        assert told["grace_s"] == GRACE_S
        assert len(told["secret"]) == 32
        assert told["server"] == rig.dispatcher.server_id
        assert told["epoch"] == rig.dispatcher.epoch
        assert rig.engine.find_session(told["session"]).info.python == (3, 12)

    @pytest.mark.parametrize(
        "described",
        [
            None,
            [],
            {},
            {**NEW, "role": "stock"},
            {**NEW, "role": "admin"},
            {**NEW, "role": []},
            {**NEW, "python": "3.12"},
            {**NEW, "python": [3]},
            {**NEW, "python": [True, 1]},
            {**NEW, "pid": []},
            {**NEW, "slots": "many"},
            {**NEW, "started_s": {}},
            {**NEW, "pid": float("inf")},
        ],
    )
    def test_a_bad_description_is_refused(self, rig, described):
        wire = Wire(rig)
        wire.control(Type.ATTACH, body={"new": described})
        assert refused(wire, "attach")
        assert not len(rig.inner.sessions)

    def test_long_texts_are_cut(self, rig):
        wire = Wire(rig)
        told = wire.attach({"new": {**NEW, "name": "x" * 10_000, "host": 5}})
        info = rig.engine.find_session(told["session"]).info
        assert len(info.name) == 200
        assert info.host == "5"

    def test_a_lane_tells_its_last_number(self, rig, program, thread):
        for _ in range(3):
            thread.ask("cluster.count", "")
        wire = Wire(rig)
        told = wire.attach({"session": program.id, "secret": program.secret, "lane": thread.number})
        assert told == {
            "last": 3,
            "session": program.id,
            "epoch": rig.dispatcher.epoch,
            "spin_s": rig.dispatcher.limits.spin_s,
        }

    def test_wrong_secret(self, rig, program):
        for secret in ("", "wrong", program.secret[:-1], None, 5, b"bytes"):
            wire = Wire(rig)
            wire.control(Type.ATTACH, body={"session": program.id, "secret": secret, "lane": 1})
            assert refused(wire, "secret")
        assert program.alive

    @pytest.mark.parametrize("session", ["nonesuch", "", None, 7, []])
    def test_unknown_session(self, rig, program, session):
        wire = Wire(rig)
        wire.control(Type.ATTACH, body={"session": session, "secret": program.secret, "lane": 1})
        assert refused(wire, "session", errors.SessionExpired)
        assert wire.errors[0].fields == {"epoch": rig.dispatcher.epoch}

    @pytest.mark.parametrize("lane", [-1, 1 << 31, "1", None, 1.0, True])
    def test_bad_lane(self, rig, program, lane):
        wire = Wire(rig)
        wire.control(Type.ATTACH, body={"session": program.id, "secret": program.secret, "lane": lane})
        assert refused(wire, "lane number")

    @pytest.mark.parametrize("ack", ["1", None, 1.0, []])
    def test_bad_ack(self, rig, program, ack):
        wire = Wire(rig)
        body = {"session": program.id, "secret": program.secret, "lane": 1, "ack": ack}
        wire.control(Type.ATTACH, body=body)
        assert refused(wire, "number of a call")

    def test_one_session_for_each_connection(self, rig, program):
        wire = Wire(rig)
        wire.attach({"new": NEW})
        wire.control(Type.ATTACH, body={"new": NEW})
        assert refused(wire, "has a session already")
        wire = Wire(rig)
        wire.attach({"new": NEW})
        wire.control(Type.ATTACH, body={"session": program.id, "secret": program.secret, "lane": 1})
        assert refused(wire, "another session")

    def test_an_ended_session_is_unknown(self, rig, program):
        program.goodbye()
        wire = Wire(rig)
        wire.control(Type.ATTACH, body={"session": program.id, "secret": program.secret, "lane": 1})
        assert refused(wire, "does not know", errors.SessionExpired)

    @pytest.mark.parametrize("kind", sorted(set(Type) - {Type.CALL, Type.REPLY, Type.ERROR, Type.ATTACH}))
    def test_nothing_goes_before_it(self, rig, kind):
        bodies = {Type.HEARTBEAT: [], Type.GOODBYE: "", Type.ATTACHED: {}, Type.OUTPUT: ["program", []]}
        wire = Wire(rig)
        wire.control(kind, body=bodies.get(kind))
        assert refused(wire, "before ATTACH")

    def test_no_call_goes_before_it(self, rig):
        wire = Wire(rig)
        wire.say(call(0, 1, "cluster.count"))
        assert refused(wire, "attach it first")


class TestLanes:
    def test_two_on_one_connection(self, rig, program, thread):
        wire = Wire(rig)
        for lane in (7, 8):
            wire.attach({"session": program.id, "secret": program.secret, "lane": lane})
        event = rig.open(thread, "event")
        wire.say(call(7, 1, "event.wait", event, None))
        wire.say(call(8, 1, "cluster.count"))
        wire.carry()
        assert [(a.lane, a.number) for a in wire.answers] == [(8, 1)]
        wire.say(call(8, 2, "event.set", event, ack=1))
        wire.carry()
        assert sorted((a.lane, a.number) for a in wire.answers[1:]) == [(7, 1), (8, 2)]
        wire.cut()
        lanes = rig.inner.find_session(program.id).lanes
        assert [number for number, lane in lanes.items() if lane.suspended] == [7, 8]

    def test_a_new_connection_supersedes_the_older(self, rig, program, thread):
        event = rig.open(thread, "event")
        waiting = thread.call("event.wait", event, None)
        older = thread.wire
        thread.back()  # the client lost its connection; the server does not know yet
        older.carry()
        assert older.closed
        assert not older.errors
        rig.thread().ask("event.set", event)
        assert waiting.value is True
        assert rig.inner.find_session(program.id).connections == 2

    def test_the_older_one_keeps_its_other_lanes(self, rig, program):
        wire, newer = Wire(rig), Wire(rig)
        body = {"session": program.id, "secret": program.secret}
        wire.attach({**body, "lane": 7})
        wire.attach({**body, "lane": 8})
        newer.attach({**body, "lane": 7})
        wire.say(call(8, 1, "cluster.count"))
        newer.say(call(7, 1, "cluster.count"))
        assert numbers(wire) == [1]
        assert numbers(newer) == [1]
        wire.say(call(7, 2, "cluster.count", ack=1))
        assert refused(wire, "carries no lane 7")
        newer.say(call(7, 2, "cluster.count", ack=1))
        assert numbers(newer) == [1, 2]

    def test_attaching_again_on_the_same_connection_changes_nothing(self, rig, program, thread):
        body = {"session": program.id, "secret": program.secret, "lane": thread.number}
        thread.ask("cluster.count", "")
        assert thread.wire.attach(body)["last"] == 1
        assert thread.ask("cluster.count", "") == 0
        assert rig.inner.find_session(program.id).connections == 2

    def test_an_answer_that_nobody_carries_is_kept(self, rig, thread):
        event = rig.open(thread, "event")
        waiting = thread.call("event.wait", event, None)
        thread.lose()
        rig.thread().ask("event.set", event)
        assert waiting.arrived is None
        thread.back()
        assert waiting.value is True

    def test_a_closed_lane_is_gone(self, rig, program, thread):
        program.control.control(Type.LANE_CLOSED, thread.number)
        assert thread.number not in rig.inner.find_session(program.id).lanes
        thread.wire.say(call(thread.number, 1, "cluster.count"))
        assert refused(thread.wire, "carries no lane 1")

    def test_a_closed_lane_undoes_what_it_did_not_acknowledge(self, rig, program, thread):
        queue = rig.open(thread, "queue")
        thread.ask("queue.put_many", queue, None, blobs=[A, B])
        for number in (3, 4):
            thread.wire.say(call(thread.number, number, "queue.get", queue, None, False, ack=2))
        thread.wire.control(Type.LANE_CLOSED, thread.number, ack=3)
        assert program.thread().out("queue.get_many", queue, 9, 0, False) == [B]

    def test_controls_of_lanes_that_are_not_there(self, rig, program):
        for kind in (Type.ACK, Type.ABANDON, Type.LANE_CLOSED):
            program.control.control(kind, 99, 5, 5)
        assert program.alive
        assert not program.control.closed

    def test_abandoning_what_never_came(self, rig, thread):
        thread.wire.control(Type.ABANDON, thread.number, 5)
        assert thread.ask("cluster.count", "") == 0


class TestTheEnd:
    def test_goodbye_closes_all_connections(self, rig, program, thread):
        thread.wire.control(Type.GOODBYE, body="bye")
        assert thread.wire.closing
        assert not program.alive
        rig.settle()
        assert program.control.closed
        assert refused(program.control, "goodbye", errors.SessionExpired)
        assert not thread.wire.errors
        assert not rig.lost

    def test_who_is_parked_elsewhere_is_told(self, rig, program, thread):
        event = rig.open(rig.thread(), "event")
        thread.call("event.wait", event, None)
        rig.settle()
        rig.advance(TIMEOUT_S)
        assert refused(thread.wire, "silent for 30 s", errors.SessionExpired)
        assert refused(program.control, "silent for 30 s", errors.SessionExpired)
        assert not thread.wire.answers

    def test_a_connection_without_lanes_hears_of_it_when_it_speaks(self, rig, program):
        wire = Wire(rig)
        wire.attach({"session": program.id, "secret": program.secret, "lane": 5})
        wire.control(Type.LANE_CLOSED, 5)
        program.goodbye()
        wire.control(Type.HEARTBEAT, body=[])
        assert refused(wire, "goodbye", errors.SessionExpired)

    def test_a_stopping_server_says_goodbye(self, thread):
        thread.wire.side.goodbye("restarting")
        thread.wire.carry()
        assert thread.wire.controls[-1].type is Type.GOODBYE
        assert thread.wire.controls[-1].body == "restarting"


class TestRefusals:
    @pytest.mark.parametrize(
        ("pieces", "text"),
        [
            (frames.encode_reply(0, 1, None, ()), "no answers"),
            (frames.encode_error(0, 1, "code", "text", {}), "no answers"),
            (frames.encode_control(Type.ATTACHED, body={}), "does not send ATTACHED"),
            ([b"\xff" * 64], "size"),
            ([b"\0" * 64], "head"),
            (frames.encode_control(Type.HEARTBEAT, body=[])[:1], ""),
        ],
    )
    def test_what_no_client_sends(self, rig, thread, pieces, text):
        if not text:
            pieces, text = [b"".join(pieces).replace(b"\x08\0\0\0", b"\x63\0\0\0")], "type"
        thread.wire.side.receive_data(b"".join([*pieces, *call(thread.number, 1, "cluster.count")]))
        assert refused(thread.wire, text)
        assert not thread.wire.answers
        assert thread.wire.reason
        assert thread.program.alive

    def test_an_unknown_operation(self, thread):
        thread.wire.say(frames.encode_call(0x7FFF, thread.number, 1, 0, "", [], ()))
        assert refused(thread.wire, "no operation 0x7fff", errors.BadValue)

    def test_a_message_over_the_limit_is_refused_by_its_header(self):
        rig = WiredRig("memory", 1, Limits(max_message=1000))
        thread = rig.thread()
        box = rig.open(thread, "dict")
        header = b"".join(call(thread.number, 2, "dict.set", box, "k", blobs=[bytes(2000)]))[:32]
        thread.wire.side.receive_data(header)
        assert refused(thread.wire, "1000 accepted")

    def test_bytes_after_the_end_are_ignored(self, rig, thread):
        thread.wire.say(call(thread.number, 9, "cluster.count"))
        thread.wire.side.receive_data(
            b"".join(call(thread.number, 1, "cluster.open", "", "dict", "x", {}, False, None))
        )
        assert refused(thread.wire, "call 9")
        assert not rig.inner.catalogue.objects
