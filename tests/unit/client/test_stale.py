"""What a program may do that comes back after the server ended its session, or one thread's lane of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.client.peer import CUT, KEY, reply

from mpclient.session import Describes, Session
from mpclient.transport.stale import Stale, is_told, unless_done
from mpshared.errors import ServerGone, SessionExpired, StaleOwner
from mpshared.ops import BY_NAME
from mpshared.wire.own.frames import Call, Type, encode_error

LOCKED, RELEASE = BY_NAME["lock.locked"], BY_NAME["lock.release"]
ACQUIRE, PUT, GET = BY_NAME["lock.acquire"], BY_NAME["queue.put"], BY_NAME["queue.get"]


def expired(held=(), done=(), **more):
    return SessionExpired("it was silent", held=list(held), done=list(done), **more)


def held(ident, n=1, lane=1, unseen=0):
    return [lane, n, unseen, [ident], f"lock {ident!r}"]


class Scene:
    """A thread with lane 1 of a term that is over, and another with lane 2."""

    def __init__(self, *claims: Any, done: int = 5) -> None:
        self.term: Any = SimpleNamespace(id="term")
        self.stale = Stale()
        self.stale.note(self.term, expired(claims, [[1, done], [2, done]]))

    def call(self, name, target, *args, lane=1, abandoned=()):
        own = self.stale.of(self.term, lane, abandoned)
        self.stale.refuse(own, BY_NAME[name], target, list(args))

    def refused(self, name, target, *args, **more):
        with pytest.raises(StaleOwner) as caught:
            self.call(name, target, *args, **more)
        return caught.value.text


class TestClaims:
    def test_every_call_is_refused_until_all_is_released(self):
        scene = Scene(held("a"), held("b", 2))
        assert "This thread held lock 'a', lock 'b'" in scene.refused("dict.len", "d")
        scene.refused("rlock.release", "b")
        scene.refused("lock.acquire", "a", None)
        scene.refused("lock.release", "a")
        scene.refused("dict.len", "d")
        assert "held lock 'b'" in scene.refused("condition.release", "b")
        scene.call("dict.len", "d")
        scene.call("lock.release", "a")
        assert not scene.stale.claims

    @pytest.mark.parametrize("name", ["semaphore.release", "queue.task_done"])
    def test_several_at_once(self, name):
        scene = Scene(held("s", 3))
        scene.refused(name, "s", 2)
        scene.refused(name, "s", 1)
        scene.call(name, "s", 1)

    def test_other_threads_are_not_concerned(self):
        scene = Scene(held("a"))
        scene.call("dict.len", "d", lane=2)
        scene.call("lock.release", "b", lane=2)

    @pytest.mark.parametrize("name", ["lock.release", "condition.release"])
    def test_but_for_what_they_release_for_it(self, name):
        scene = Scene(held("a"))
        assert "Another thread of this program held lock 'a'" in scene.refused(name, "a", lane=2)
        scene.call(name, "a", lane=2)
        scene.call("dict.len", "d")

    def test_an_rlock_is_nobody_elses_to_release(self):
        scene = Scene(held("a"))
        scene.call("rlock.release", "a", lane=2)
        scene.refused("dict.len", "d")

    @pytest.mark.parametrize(("take", "args"), [("lock.acquire", [None]), ("lock.recover", [])])
    def test_nor_what_was_asked_for_anew(self, take, args):
        scene = Scene(held("a"))
        scene.call(take, "a", *args, lane=2)
        scene.call("lock.release", "a", lane=2)
        scene.refused("dict.len", "d")

    def test_what_came_with_an_answer_that_it_never_had_does_not_count(self):
        scene = Scene(held("a", 2, unseen=1), held("b", 1, unseen=1), done=5)
        assert "held lock 'a':" in scene.refused("dict.len", "d", abandoned=[5])
        scene.refused("lock.release", "a", abandoned=[5])
        scene.call("dict.len", "d", abandoned=[5])

    def test_what_came_with_an_answer_that_it_had_does(self):
        scene = Scene(held("a", 1, unseen=1), done=5)
        scene.refused("dict.len", "d", abandoned=[4, 6])

    def test_an_end_is_noted_once(self):
        scene = Scene(held("a"))
        scene.stale.note(scene.term, expired([held("a")], [[1, 5]]))
        scene.refused("lock.release", "a")
        scene.call("dict.len", "d")

    def test_what_the_server_does_not_tell_is_nothing(self):
        scene = Scene()
        for error in (SessionExpired("why"), ServerGone("gone", held=[], done=[])):
            assert not is_told(error)
            scene.stale.note(scene.term, error)
        assert is_told(expired())
        assert not scene.stale.claims


@pytest.mark.parametrize(
    ("name", "number", "again"),
    [
        ("queue.put", 0, True),  # never sent
        ("queue.put", 6, True),  # never seen, or waited
        ("queue.put", 5, False),
        ("queue.put_revocably", 5, False),  # the end of a session takes none back
        ("dict.incr", 4, False),
        ("queue.get", 5, True),  # undone
        ("dict.len", 5, True),
        ("dict.set", 5, True),  # twice is once
    ],
)
def test_which_calls_are_made_again(name, number, again):
    error = expired(done=[[1, 5]], at=(1, number))
    if again:
        unless_done(error, BY_NAME[name])
    else:
        with pytest.raises(
            SessionExpired, match=f"it was silent. Before that it had done {name}, whose answer"
        ):
            unless_done(error, BY_NAME[name])


class TestSession:
    """A session whose server says, from `end` on, that the lane of its one thread is over."""

    @pytest.fixture
    def end(self, peer, session):
        peer.script = lambda event: reply(event, True) if isinstance(event, Call) else None
        session.call(LOCKED, "a", [])

        def end(*claims, done=1):
            over = expired(claims, [[1, done]], lane=1)
            error = encode_error(0, 0, over.code, over.text, over.fields)

            def script(event):
                if isinstance(event, Call):
                    return CUT if event.lane == 1 else reply(event, True)
                return error if event.type is Type.ATTACH and event.body.get("lane") == 1 else None

            peer.script = script

        return end

    def test_who_held_nothing_goes_on_with_a_new_lane(self, peer, session, end):
        end()
        assert session.call(PUT, "q", [None], [b"value"]).result is True
        assert [(call.lane, call.number) for call in peer.calls[-2:]] == [(1, 2), (2, 1)]
        assert sum("new" in body for body in peer.attaches) == 1  # the session went on

    def test_who_held_something_does_not(self, peer, session, end, in_thread):
        end(held("a"))
        for op in (LOCKED, LOCKED, RELEASE):
            with pytest.raises(StaleOwner):
                session.call(op, "a", [])
        in_thread(lambda: session.call(LOCKED, "a", []))
        assert session.call(LOCKED, "a", []).result is True
        assert {call.lane for call in peer.calls} == {1, 2, 3}
        assert not [call for call in peer.calls if call.op == RELEASE.code]

    def test_the_time_of_a_call_that_is_made_again_goes_on(self, peer, session, end):
        end()
        session.call(GET, "q", [60.0, False])
        assert 0 < peer.calls[-1].args[0] < 60.0

    def test_what_was_done_and_is_no_use_twice_is_told(self, peer, session, end):
        end(done=2)
        with pytest.raises(SessionExpired, match="done queue.put"):
            session.call(PUT, "q", [None], [b"value"])
        assert session.call(LOCKED, "a", []).result is True

    def test_a_release_as_the_first_call_counts(self, peer, session, end):
        end(held("a"))
        with pytest.raises(StaleOwner):
            session.call(RELEASE, "a", [])
        assert session.call(ACQUIRE, "a", [None]).result is True


def test_supervisors_and_workers_hear_of_the_end(peer):
    session = Session(peer.address, KEY, Describes("supervisor"), connect_timeout_s=5, reconnect_timeout_s=5)
    peer.script = lambda event: reply(event, True) if isinstance(event, Call) else None
    session.call(LOCKED, "a", [])
    session.end(session.start(), expired([held("a")], [[1, 1]]))
    outcomes = []

    def ask():
        try:
            outcomes.append(session.call(LOCKED, "a", []).result)
        except SessionExpired as err:
            outcomes.append(type(err))

    ask()
    ask()
    assert outcomes == [SessionExpired, True]
    session.close()
