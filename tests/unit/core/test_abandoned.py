"""Locks whose holder dies, by policy: raise, hold, and what recover and an operator do about it."""

import pytest
from tests.unit.core.harness import World

from mpserve.core.t_condition import Condition
from mpserve.core.t_lock import Lock
from mpserve.core.t_rlock import RLock
from mpshared.errors import BadValue, LockAbandoned, NotAllowed, NotHeld

KINDS = {
    "lock": (Lock, False),
    "rlock": (RLock, False),
    "condition on a lock": (Lock, True),
    "condition on an rlock": (RLock, True),
}


class Scene:
    """A lock that somebody died with, maybe under a condition, and two who want it."""

    def __init__(self, kind, policy):
        of, on_condition = KINDS[kind]
        self.world = World()
        self.lock = self.world.add(of, name="door", on_owner_death=policy)
        self.door = (
            self.world.add(Condition, name="news", lock=self.lock.ident) if on_condition else self.lock
        )
        self.dying, self.alice, self.bob = (self.world.lane() for _ in range(3))

    def call(self, lane, method, *args):
        return self.world.call(lane, self.door, method, *args)

    def ask(self, lane, method, *args):
        return self.world.ask(lane, self.door, method, *args)

    def abandon(self):
        assert self.ask(self.dying, "acquire", None) is True
        self.world.end_session(self.dying.session)


@pytest.fixture(params=KINDS)
def raising(request):
    return Scene(request.param, "raise")


@pytest.fixture(params=KINDS)
def holding(request):
    return Scene(request.param, "hold")


@pytest.fixture(params=["raise", "hold"])
def keeping(request):
    return Scene("rlock", request.param)


@pytest.fixture(params=[(kind, policy) for kind in KINDS for policy in ("raise", "hold")], ids=" ".join)
def either(request):
    return Scene(*request.param)


# -- raise ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout_s", [None, 0, 5])
def test_who_wants_an_abandoned_one_is_told_and_does_not_hold_it(raising, timeout_s):
    raising.abandon()
    for lane in (raising.alice, raising.bob):
        with pytest.raises(
            LockAbandoned, match=r"'door' is abandoned: thread 1 of session s0 ended.*recover"
        ):
            raising.ask(lane, "acquire", timeout_s)
    assert raising.ask(raising.alice, "locked") is True


def test_all_who_wait_are_told_the_suspended_too(raising):
    assert raising.ask(raising.dying, "acquire", None) is True
    waiting = [raising.call(lane, "acquire", None) for lane in (raising.alice, raising.bob)]
    raising.world.suspend(raising.bob)
    raising.world.end_session(raising.dying.session)
    for call in waiting:
        with pytest.raises(LockAbandoned):
            raising.world.arrived(call)


def test_nobody_releases_an_abandoned_one(raising):
    raising.abandon()
    with pytest.raises(NotHeld, match="has ended; call recover"):
        raising.ask(raising.alice, "release")


# -- hold -----------------------------------------------------------------------------------------


def test_who_waits_waits_on(holding):
    holding.ask(holding.dying, "acquire", None)
    waiting = holding.call(holding.alice, "acquire", 5)
    holding.world.end_session(holding.dying.session)
    assert holding.ask(holding.bob, "acquire", 0) is False
    assert not waiting.answered
    holding.world.advance(6)
    assert waiting.result is False


def test_an_operator_hands_it_to_the_first_who_waits(holding):
    holding.abandon()
    first, second = (holding.call(lane, "acquire", None) for lane in (holding.alice, holding.bob))
    holding.lock.free(holding.world.fx)
    holding.world.step()
    assert first.result is True
    assert not second.answered


def test_anybody_may_release_a_lock_also_of_a_dead_holder():
    scene = Scene("lock", "hold")
    scene.abandon()
    waiting = scene.call(scene.alice, "acquire", None)
    scene.ask(scene.bob, "release")
    assert waiting.result is True


def test_nobody_else_releases_an_rlock():
    scene = Scene("rlock", "hold")
    scene.abandon()
    with pytest.raises(NotHeld, match="has ended; call recover"):
        scene.ask(scene.bob, "release")


# -- recover --------------------------------------------------------------------------------------


def test_who_recovers_it_holds_it(either):
    either.abandon()
    before = either.lock.fence
    assert either.ask(either.alice, "recover") is True
    assert either.ask(either.bob, "recover") is False
    assert either.ask(either.bob, "acquire", 0) is False
    assert either.ask(either.alice, "get_fence") == before + 1
    either.ask(either.alice, "release")
    assert either.ask(either.bob, "acquire", 0) is True


def test_it_goes_before_all_who_wait(holding):
    holding.abandon()
    waiting = holding.call(holding.alice, "acquire", None)
    assert holding.ask(holding.bob, "recover") is True
    assert not waiting.answered
    holding.ask(holding.bob, "release")
    assert waiting.result is True


@pytest.mark.parametrize("state", ["free", "held", "mine"])
def test_there_is_nothing_to_recover(either, state):
    if state != "free":
        either.ask(either.alice if state == "mine" else either.bob, "acquire", 0)
    assert either.ask(either.alice, "recover") is False
    assert either.ask(either.alice, "locked") is (state != "free")


def test_a_recover_whose_answer_never_arrived_abandons_it_again(either):
    either.abandon()
    either.world.abandon(either.call(either.alice, "recover"))
    assert either.lock.abandoned
    assert either.lock.holder.session == either.dying.session.id
    assert either.ask(either.bob, "recover") is True


def test_who_waits_for_the_recoverer_is_told_when_that_one_gives_up(raising):
    raising.abandon()
    recovering = raising.call(raising.alice, "recover")
    waiting = raising.call(raising.bob, "acquire", None)
    raising.world.abandon(recovering)
    assert isinstance(waiting.error, LockAbandoned)


def test_who_recovers_it_and_dies_abandons_it(either):
    either.abandon()
    either.ask(either.alice, "recover")
    either.world.end_session(either.alice.session)
    assert either.lock.abandoned
    assert either.ask(either.bob, "recover") is True


def test_without_a_policy_there_is_never_anything_to_recover():
    scene = Scene("lock", "release")
    scene.abandon()
    assert scene.ask(scene.alice, "recover") is False
    assert scene.ask(scene.alice, "acquire", 0) is True


# -- who dies how ---------------------------------------------------------------------------------


def test_an_answer_that_may_have_arrived_counts(either):
    assert either.call(either.dying, "acquire", None).result is True
    either.world.end_session(either.dying.session)
    assert either.lock.abandoned


def test_an_answer_that_was_given_up_does_not(either):
    either.world.abandon(either.call(either.dying, "acquire", None))
    assert not either.lock.abandoned
    assert either.ask(either.alice, "acquire", 0) is True


def test_the_end_of_its_thread_abandons_an_rlock(keeping):
    keeping.ask(keeping.dying, "acquire", None)
    keeping.ask(keeping.dying, "acquire", None)
    keeping.world.end_lane(keeping.dying)
    assert keeping.lock.abandoned
    keeping.world.end_session(keeping.dying.session)  # a second end changes nothing
    assert keeping.lock.abandoned
    assert keeping.ask(keeping.alice, "recover") is True
    keeping.ask(keeping.alice, "release")
    assert keeping.ask(keeping.bob, "acquire", 0) is True


def test_a_stock_clients_lock_belongs_to_nobody_whatever_the_policy():
    scene = Scene("lock", "raise")
    stock = scene.world.lane(role="stock")
    scene.ask(stock, "acquire", None)
    scene.world.end_session(stock.session)
    assert not scene.lock.abandoned
    scene.ask(scene.alice, "release")


def test_its_state_survives_a_restart(either):
    either.abandon()
    either.world.restart()
    either.lock, either.door = either.world.rebuilt(either.lock), either.world.rebuilt(either.door)
    assert either.lock.abandoned
    assert either.ask(either.alice, "recover") is True


# -- conditions -----------------------------------------------------------------------------------


@pytest.fixture(params=["condition on a lock", "condition on an rlock"])
def news(request):
    return Scene(request.param, "raise")


def test_who_was_notified_is_told_and_is_without_the_lock(news):
    news.ask(news.alice, "acquire", None)
    waiting = news.call(news.alice, "wait", None)
    news.ask(news.dying, "acquire", None)
    news.ask(news.dying, "notify", 1)
    news.world.end_session(news.dying.session)
    with pytest.raises(LockAbandoned) as caught:
        news.world.arrived(waiting)
    assert caught.value.fields == {"lock": news.lock.ident, "condition": news.door.ident}
    assert not news.door.woken
    assert news.ask(news.alice, "recover") is True


def test_who_was_not_notified_waits_on_and_is_told_when_its_time_is_up(news):
    news.ask(news.alice, "acquire", None)
    waiting = news.call(news.alice, "wait", 5)
    news.abandon()
    assert not waiting.answered
    news.world.advance(6)
    assert isinstance(waiting.error, LockAbandoned)


def test_who_recovers_may_notify(news):
    news.ask(news.alice, "acquire", None)
    waiting = news.call(news.alice, "wait", None)
    news.abandon()
    assert news.ask(news.bob, "recover") is True
    news.ask(news.bob, "notify", 1)
    news.ask(news.bob, "release")
    assert waiting.result is True


def test_who_had_it_back_and_may_not_know_abandons_it_and_passes_the_notify_on(news):
    calls = []
    for lane in (news.dying, news.alice):
        news.ask(lane, "acquire", None)
        calls.append(news.call(lane, "wait", None))
    news.ask(news.bob, "acquire", None)
    news.ask(news.bob, "notify", 1)
    news.ask(news.bob, "release")
    assert calls[0].result is True
    news.world.end_session(news.dying.session)
    assert news.lock.abandoned
    assert isinstance(calls[1].error, LockAbandoned)


# -- the operator, fences, settings ---------------------------------------------------------------


def test_an_operator_frees_no_lock_of_the_living(keeping):
    with pytest.raises(NotHeld, match="nobody holds"):
        keeping.lock.free(keeping.world.fx)
    keeping.ask(keeping.alice, "acquire", None)
    with pytest.raises(NotAllowed, match="which is alive"):
        keeping.lock.free(keeping.world.fx)


def test_an_operator_frees_what_a_stock_client_left():
    scene = Scene("lock", "release")
    stock = scene.world.lane(role="stock")
    scene.ask(stock, "acquire", None)
    scene.world.end_session(stock.session)
    scene.lock.free(scene.world.fx)
    scene.world.step()
    assert scene.ask(scene.alice, "acquire", 0) is True


def test_the_fence_grows_with_each_holder(either):
    seen = []
    for lane in (either.alice, either.bob, either.alice):
        either.ask(lane, "acquire", None)
        seen.append(either.ask(lane, "get_fence"))
        either.ask(lane, "release")
    assert seen == [seen[0], seen[0] + 1, seen[0] + 2]


def test_only_the_holder_has_a_fence(either):
    for _ in range(2):
        with pytest.raises(NotHeld, match="is not held by this program"):
            either.ask(either.bob, "get_fence")
        either.ask(either.alice, "acquire", 0)


def test_a_lock_made_later_begins_above():
    world, lane = World(), None
    world.fx.wall_offset_s = 1_000.0
    lane = world.lane()
    first = world.add(Lock)
    for _ in range(9):
        world.ask(lane, first, "acquire", 0)
        world.ask(lane, first, "release")
    world.advance(0.001)
    second = world.add(Lock)
    world.ask(lane, second, "acquire", 0)
    assert world.ask(lane, second, "get_fence") > first.fence


@pytest.mark.parametrize("kind", [Lock, RLock])
@pytest.mark.parametrize("policy", ["sometimes", None, 1])
def test_there_are_three_policies(kind, policy):
    with pytest.raises(BadValue, match="on_owner_death of .* is one of 'release', 'raise', 'hold', not"):
        World().add(kind, on_owner_death=policy)
