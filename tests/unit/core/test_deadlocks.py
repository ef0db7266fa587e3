"""Who waits for whom: circles are found when they close, told once, and refused where that is wanted."""

import pytest
from tests.unit.core.harness import World

from mpserve.core.t_condition import Condition
from mpserve.core.t_lock import Lock
from mpserve.core.t_rlock import RLock
from mpshared.errors import BadValue, DeadlockError


class Scene:
    """Locks a, b, c … and as many threads, of sessions of their own."""

    def __init__(self, kind=Lock, n=2, **settings):
        self.world = World()
        names = "abcdefgh"[:n]
        self.locks = {name: self.world.add(kind, name=name, **settings) for name in names}
        self.threads = {name: self.world.lane(host=f"host-{name}", pid=7) for name in names}
        self.news = self.world.add(Condition, name="news", lock=self.locks["a"].ident)

    def take(self, thread, lock):
        assert self.world.ask(self.threads[thread], self.locks[lock], "acquire", 0) is True

    def wait(self, thread, lock, timeout_s=None):
        return self.world.call(self.threads[thread], self.locks[lock], "acquire", timeout_s)

    def told(self):
        events, self.world.fx.events = self.world.fx.events, []
        assert {event for event, _ in events} <= {"lock.deadlock"}
        return [fields for _, fields in events]


@pytest.fixture(params=[Lock, RLock])
def kind(request):
    return request.param


@pytest.mark.parametrize("n", [2, 3, 8])
def test_a_circle_is_told_when_it_closes(kind, n):
    scene = Scene(kind, n)
    names = list(scene.locks)
    for name in names:
        scene.take(name, name)
    for name, wanted in zip(names[1:], names[:-1], strict=True):
        scene.wait(name, wanted)
    assert scene.told() == []
    last = scene.wait(names[0], names[-1])
    assert last.waiter is not None
    [told] = scene.told()
    assert told["raised"] is False
    assert len(told["waits"]) == n
    assert told["waits"][0] == (
        f"thread 1 of process 7 on host-a (s0) waits for {kind.kind} {names[-1]!r}, held by thread 1 of "
        f"process 7 on host-{names[-1]} (s{n - 1})"
    )


def test_a_way_that_does_not_lead_back_is_none(kind):
    scene = Scene(kind, 3)
    for name in "abc":
        scene.take(name, name)
    scene.wait("a", "b")
    scene.wait("b", "c")
    assert scene.told() == []


def test_who_waits_for_somebody_in_a_circle_is_not_in_it(kind):
    scene = Scene(kind, 3)
    for name in "abc":
        scene.take(name, name)
    scene.wait("a", "b")
    scene.wait("b", "a")
    assert len(scene.told()) == 1
    assert scene.wait("c", "a").waiter is not None
    assert scene.told() == []


def test_who_does_not_wait_closes_nothing(kind):
    scene = Scene(kind, deadlock="raise")
    scene.take("a", "a")
    scene.take("b", "b")
    scene.wait("a", "b")
    assert scene.wait("b", "a", 0).result is False
    assert scene.told() == []


def test_it_is_told_once_as_long_as_the_holders_are_the_same(kind):
    scene = Scene(kind)
    scene.take("a", "a")
    scene.take("b", "b")
    scene.wait("a", "b")
    for _ in range(3):
        assert scene.wait("b", "a", 1).waiter is not None
        scene.world.advance(2)
    assert len(scene.told()) == 1
    scene.world.ask(scene.threads["b"], scene.locks["b"], "release")
    scene.world.ask(scene.threads["a"], scene.locks["b"], "release")
    scene.take("b", "b")
    scene.wait("a", "b")
    scene.wait("b", "a")
    assert len(scene.told()) == 1


@pytest.mark.parametrize("raising", ["a", "b"])
def test_raise_on_any_of_the_locks_fails_who_would_close_it(kind, raising):
    scene = Scene(kind)
    scene.locks[raising] = scene.world.add(kind, name=raising, deadlock="raise")
    scene.take("a", "a")
    scene.take("b", "b")
    waiting = scene.wait("a", "b")
    refused = scene.wait("b", "a", 5)
    with pytest.raises(DeadlockError, match=r"to wait for .* 'a' would have no end: thread 1 .* 'b'.*order"):
        scene.world.arrived(refused)
    assert refused.error.fields == {"lock": scene.locks["a"].ident}
    assert [told["raised"] for told in scene.told()] == [True]
    scene.world.ask(scene.threads["b"], scene.locks["b"], "release")
    assert waiting.result is True


def test_a_thread_that_waits_for_itself():
    scene = Scene(Lock, 1, deadlock="raise")
    scene.take("a", "a")
    assert isinstance(scene.wait("a", "a").error, DeadlockError)


def test_an_rlock_is_taken_again():
    scene = Scene(RLock, 1, deadlock="raise")
    scene.take("a", "a")
    assert scene.wait("a", "a").result is True


def test_a_lock_that_others_release_is_a_signal():
    scene = Scene(Lock, 2, deadlock="raise")
    scene.take("a", "a")
    scene.world.ask(scene.threads["b"], scene.locks["a"], "release")
    scene.take("a", "a")
    waiting = scene.wait("a", "a")
    assert waiting.waiter is not None
    scene.world.ask(scene.threads["b"], scene.locks["a"], "release")
    assert waiting.result is True
    assert scene.told() == []


def test_whose_holder_is_dead_is_in_no_circle(kind):
    scene = Scene(kind, on_owner_death="hold")
    scene.take("a", "a")
    scene.take("b", "b")
    scene.world.end_session(scene.threads["a"].session)
    assert scene.wait("b", "a").waiter is not None
    assert scene.told() == []


@pytest.mark.parametrize("role", ["stock", "program"])
def test_stock_clients_are_threads_like_others(kind, role):
    scene = Scene(kind)
    scene.threads["b"] = scene.world.lane(role=role)
    scene.take("a", "a")
    scene.take("b", "b")
    scene.wait("a", "b")
    scene.wait("b", "a")
    assert len(scene.told()) == 1


class TestConditions:
    def scene(self, **settings):
        return Scene(RLock, 2, **settings)

    def test_who_wants_the_lock_through_it(self):
        scene = self.scene(deadlock="raise")
        scene.take("a", "a")
        scene.take("b", "b")
        scene.wait("a", "b")
        refused = scene.world.call(scene.threads["b"], scene.news, "acquire", None)
        assert isinstance(refused.error, DeadlockError)

    def test_who_waits_to_be_notified_waits_for_no_thread(self):
        scene = self.scene(deadlock="raise")
        scene.take("a", "a")
        scene.take("b", "b")
        scene.world.call(scene.threads["a"], scene.news, "wait", None)
        scene.take("b", "a")
        assert scene.told() == []

    def test_who_wants_it_back_may_close_the_circle(self):
        scene = self.scene(deadlock="raise")
        scene.take("a", "b")
        scene.take("a", "a")
        waiting = scene.world.call(scene.threads["a"], scene.news, "wait", 5)
        scene.take("b", "a")
        wants = scene.wait("b", "b")
        scene.world.advance(6)
        with pytest.raises(DeadlockError) as caught:
            scene.world.arrived(waiting)
        assert caught.value.fields == {"lock": scene.locks["a"].ident, "condition": scene.news.ident}
        scene.world.ask(scene.threads["a"], scene.locks["b"], "release")
        assert wants.result is True

    def test_its_own_lock_goes_by_its_name(self):
        world = World()
        lock = world.add(RLock)
        news = world.add(Condition, name="news", lock=lock.ident)
        assert lock.label == "the lock of condition 'news'"
        world.delete(news)
        assert lock.label == f"anonymous rlock {lock.ident}"


@pytest.mark.parametrize("value", ["never", None, True])
def test_there_are_two_ways_to_take_it(value):
    with pytest.raises(BadValue, match="deadlock of .* is one of 'report', 'raise', not"):
        World().add(Lock, deadlock=value)
