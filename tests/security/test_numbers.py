"""Numbers of calls that lie, and sessions of others: nothing is done twice, left out, or taken from anybody.

How the dispatcher counts is tested in `tests/unit/dispatch/test_own.py`, that a client takes only answers to
what it asked in `tests/unit/client/test_lane.py`, that only the role that began a session joins it in
`tests/unit/dispatch/test_roles.py`.
"""

from __future__ import annotations

import json
import signal
from typing import Any, NamedTuple

import pytest
from tests.integration.raw import LANE, Raw, raw_of
from tests.security.attackers import unharmed
from tests.unit.net.stage import Closed, RawClient

from mpshared.ops import BY_NAME
from mpshared.values import PickledKey
from mpshared.wire.own import frames
from mpshared.wire.own.frames import Failed, Reply, Type

MOST = (1 << 64) - 1


class Sent(NamedTuple):
    """A call of dict.incr: what it says of itself."""

    number: int
    ack: int = 0
    by: int = 1
    lane: int = LANE


class Attack(NamedTuple):
    """What is sent when calls 1 and 2 were made (2 made the count 1), and what must come of it."""

    calls: list[Sent]
    answers: list[int]
    """What the calls are answered, in order."""
    refused: str = ""
    """What is said of the first that is refused; then the connection is closed."""


ATTACKS = {
    "the same number, other content": Attack([Sent(2, by=100)], [1]),
    "the same number in a burst": Attack([Sent(3), Sent(3, by=5), Sent(3, by=7), Sent(4)], [2, 2, 2, 3]),
    "a number that was acknowledged": Attack([Sent(1, ack=2)], [], "was acknowledged"),
    "acknowledged and repeated at once": Attack([Sent(2, ack=2)], [], "was acknowledged"),
    "numbers that go back": Attack([Sent(3, ack=2), Sent(2, ack=2)], [2], "was acknowledged"),
    "number zero": Attack([Sent(0)], [], "was acknowledged"),
    "a number left out": Attack([Sent(4)], [], "came after call 2"),
    "numbers reordered": Attack([Sent(4), Sent(3)], [], "came after call 2"),
    "the largest number": Attack([Sent(MOST)], [], "came after call 2"),
    "an acknowledgement of the future": Attack([Sent(3, ack=MOST), Sent(4, ack=MOST)], [2, 3]),
    "an acknowledgement of itself": Attack([Sent(3, ack=3), Sent(4, ack=3)], [2, 3]),
    "an acknowledgement that goes back": Attack([Sent(3, ack=2), Sent(4, ack=0)], [2, 3]),
    "a lane of nobody": Attack([Sent(1, lane=LANE + 1)], [], "carries no lane"),
    "the largest lane": Attack([Sent(3, lane=(1 << 32) - 1)], [], "carries no lane"),
}


def encode(box: str, sent: Sent) -> bytes:
    op = BY_NAME["dict.incr"].code
    return b"".join(frames.encode_call(op, sent.lane, sent.number, sent.ack, box, ["n", sent.by], []))


def carry(raw: Raw, program: RawClient) -> RawClient:
    """Carry the lane that is attacked over a new connection."""
    return raw.lane(program)[0]


@pytest.mark.parametrize("resumed", [False, True], ids=["", "resumed"])
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_each_call_is_done_once_whatever_its_number_says(raw, attack, resumed):
    program = raw.program()
    box = program.open("dict")
    thread = carry(raw, program)
    thread.call("dict.set", box, "n", lane=LANE, blobs=[b"K\0."])
    assert thread.call("dict.incr", box, "n", 1, lane=LANE).result == 1
    if resumed:
        thread.close(reset=True)
        thread = carry(raw, program)
    thread.send(b"".join(encode(box, sent) for sent in attack.calls))
    for expected in attack.answers:
        event = thread.next_event()
        assert isinstance(event, Reply), event
        assert event.result == expected
    if attack.refused:
        event = thread.next_event()
        assert isinstance(event, Failed)
        assert (event.lane, event.number, event.code) == (0, 0, "protocol")
        assert attack.refused in event.text
        with pytest.raises((Closed, ConnectionResetError)):
            thread.next_event()
    assert count(program, box) == max([1, *attack.answers])


def count(program: RawClient, box: str) -> int:
    """Add nothing; return the sum."""
    result: int = program.call("dict.incr", box, "n", 0).result
    return result


def test_numbers_far_apart_after_a_restart_hold_nobody_up(fresh_server, tmp_path):
    """Lanes of before a restart may leave numbers out: acknowledging them must not count through all."""
    server = fresh_server("--data", str(tmp_path / "data"), "--session-timeout", "60")
    with raw_of(server) as raw:
        program = raw.program()
        box = program.open("dict", "box")
        program.call("dict.set", box, "n", blobs=[b"K\0."])
    server.send_signal(signal.SIGKILL)
    server.wait()
    server.start(port=server.where[1])
    with raw_of(server) as raw, unharmed(server):
        again = raw.client().shake_hands()
        again.attach(program, 0)
        far = 1 << 62
        again.send(encode(box, Sent(far, lane=0)) + encode(box, Sent(far + 1, ack=far, lane=0)))
        assert [result_of(again), result_of(again)] == [1, 2]
        again.control(Type.ACK, 0, ack=MOST)
        again.send(encode(box, Sent(far + 2, ack=MOST, lane=0)))
        assert result_of(again) == 3


def result_of(client: RawClient) -> Any:
    event = client.next_event()
    assert isinstance(event, Reply), event
    return event.result


# -- sessions of others ---------------------------------------------------------------------------------


def stolen(victim: RawClient, thief: RawClient) -> dict[str, dict[str, Any]]:
    """Return what one who has the key, and knows the victim's session id from `status`, may try to attach."""
    session = victim.session
    return {
        "no secret": {"session": session, "lane": 0},
        "an empty one": {"session": session, "secret": "", "lane": 0},
        "nothing": {"session": session, "secret": None, "lane": 0},
        "the session's id": {"session": session, "secret": session, "lane": 0},
        "that of another session": {"session": session, "secret": thief.secret, "lane": 0},
        "a part of it": {"session": session, "secret": victim.secret[:-1], "lane": 0},
        "a longer one": {"session": session, "secret": victim.secret + "0", "lane": 0},
        "another case": {"session": session, "secret": victim.secret.upper() + "A", "lane": 0},
        "bytes": {"session": session, "secret": victim.secret.encode(), "lane": 0},
        "a list": {"session": session, "secret": [victim.secret], "lane": 0},
        "a key": {"session": session, "secret": PickledKey(victim.secret.encode()), "lane": 0},
        "a megabyte": {"session": session, "secret": "0" * (1 << 20), "lane": 0},
        "letters beyond ASCII": {"session": session, "secret": "ä" * 32, "lane": 0},
        "the other way round": {"session": victim.secret, "secret": session, "lane": 0},
    }


def test_nobody_takes_over_a_session_whose_secret_he_does_not_know(raw):
    victim, thief = raw.program(), raw.program()
    lock = victim.open("lock")
    victim.call("lock.acquire", lock, None)
    for name, body in stolen(victim, thief).items():
        attacker = raw.client().shake_hands()
        attacker.control(Type.ATTACH, body=body)
        event = attacker.next_event()
        assert isinstance(event, Failed), name
        assert victim.secret not in f"{event.text}{event.fields}", name
        if "secret" in body:
            attacker = raw.client().shake_hands()
            new = {"role": "program", "python": [3, 11]}
            told = attacker.attached({"new": new, "before": {**body, "session": victim.session}})
            assert told["before"] is None, name
    assert victim.call("lock.locked", lock).result is True
    victim.call("lock.release", lock)


def test_what_one_session_says_of_another_changes_nothing(raw):
    victim, attacker = raw.program(), raw.program()
    lock, queue = victim.open("lock"), victim.open("queue")
    victim.call("lock.acquire", lock, None)
    victim.send(victim.encode("queue.get", queue, None, False))
    attacker.send(attacker.encode("cluster.report_death", "", victim.session, {"how": "x"}))
    attacker.next_event()
    attacker.control(Type.HEARTBEAT, body=[victim.session])
    attacker.control(Type.ABANDON, 0, 3)
    attacker.control(Type.ACK, 0, ack=99)
    attacker.control(Type.LANE_CLOSED, 7, ack=99)
    attacker.call("queue.put", queue, None, blobs=[b"N."])
    event = victim.next_event()
    assert isinstance(event, Reply)
    assert event.blobs == (b"N.",)
    assert attacker.call("lock.acquire", lock, 0).result in {None, False}
    assert victim.call("lock.locked", lock).result is True


def test_secrets_and_ids_cannot_be_guessed_and_are_shown_to_nobody(raw):
    programs = [raw.program() for _ in range(20)]
    secrets, sessions = {p.secret for p in programs}, {p.session for p in programs}
    idents = {p.open("dict") for p in programs}
    assert len(secrets) == len(sessions) == len(idents) == len(programs)
    assert all(len(bytes.fromhex(secret)) >= 16 for secret in secrets)
    assert all(len(bytes.fromhex(ident)) >= 8 for ident in sessions | idents)
    programs[0].send(programs[0].encode("cluster.status"))
    shown = json.dumps(result_of(programs[0]), default=repr)
    assert [session for session in sessions if session not in shown] == []
    assert [secret for secret in secrets if secret in shown] == []


def test_frames_of_a_session_that_is_over_are_refused(raw):
    program = raw.program()
    other = raw.client().shake_hands()
    other.attach(program, LANE)
    program.control(Type.GOODBYE, body="bye")
    event = other.next_event()
    assert isinstance(event, Failed)
    assert event.code == "session_expired"
    late = raw.client().shake_hands()
    late.control(Type.ATTACH, body={"session": program.session, "secret": program.secret, "lane": 0})
    event = late.next_event()
    assert isinstance(event, Failed)
    assert event.code == "session_expired"
