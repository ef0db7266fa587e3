"""Barrier: meetings, actions, breaks, and parties that are gone."""

import pytest
from tests.unit.core.harness import World

from mpserve.core.t_barrier import Barrier
from mpshared.errors import BadType, BadValue, BrokenBarrierError, NoSuchObject


class Scene:
    """A barrier, and parties that come to it."""

    def __init__(self, parties=3, **settings):
        self.world = World()
        self.barrier = self.world.add(Barrier, name="start", parties=parties, **settings)

    def wait(self, timeout_s=None, lane=None):
        return self.world.call(lane or self.world.lane(), self.barrier, "wait", timeout_s)

    def ask(self, method, *args, lane=None):
        return self.world.ask(lane or self.world.lane(), self.barrier, method, *args)

    def status(self):
        return self.ask("status")

    def act(self, parties=3):
        """Fill a round; return who runs the action, and the others."""
        *others, last = [self.wait() for _ in range(parties)]
        assert self.world.arrived(last) == [parties - 1, True]
        return last, others

    def restart(self):
        self.world.restart()
        self.barrier = self.world.rebuilt(self.barrier)


def is_broken(call):
    return isinstance(call.error, BrokenBarrierError)


@pytest.fixture
def scene():
    return Scene()


@pytest.fixture
def acting():
    return Scene(has_action=True)


# -- rounds ------------------------------------------------------------------------------------------


def test_all_are_let_go_by_the_last_one(scene):
    calls = [scene.wait(), scene.wait()]
    assert scene.status() == [3, 2, False]
    calls.append(scene.wait())
    assert [call.result for call in calls] == [[0, False], [1, False], [2, False]]
    assert scene.status() == [3, 0, False]


def test_round_after_round(scene):
    lanes = [scene.world.lane() for _ in range(3)]
    for _ in range(3):
        calls = [scene.wait(lane=lane) for lane in lanes]
        assert [call.result[0] for call in calls] == [0, 1, 2]


def test_one_party_never_waits():
    assert Scene(parties=1).wait(0).result == [0, False]


def test_a_suspended_party_counts_and_is_answered(scene):
    calls = [scene.wait(), scene.wait()]
    scene.world.suspend(calls[0].lane)
    scene.wait()
    assert calls[0].result == [0, False]


# -- breaking ----------------------------------------------------------------------------------------


def test_whose_time_is_up_breaks_it_for_all(scene):
    calls = [scene.wait(), scene.wait(5)]
    scene.world.advance(5)
    assert all(map(is_broken, calls))
    assert scene.status() == [3, 0, True]
    assert is_broken(scene.wait())


def test_no_time_at_all(scene):
    calls = [scene.wait(), scene.wait(0)]
    assert all(map(is_broken, calls))


def test_its_own_time_is_for_those_who_give_none():
    scene = Scene(timeout_s=5)
    patient = scene.wait(50)
    scene.world.advance(5)
    assert not patient.answered
    hasty = scene.wait()
    scene.world.advance(5)
    assert is_broken(hasty)
    assert is_broken(patient)


@pytest.mark.parametrize("leave", ["abandon", "end_lane", "end_session"])
def test_a_party_that_is_gone_breaks_it(scene, leave):
    gone, call = scene.wait(), scene.wait()
    subject = {"abandon": gone, "end_lane": gone.lane, "end_session": gone.session}[leave]
    getattr(scene.world, leave)(subject)
    assert is_broken(call)
    assert not gone.answered
    assert scene.status() == [3, 0, True]


def test_two_parties_of_one_dead_session(scene):
    gone = scene.wait()
    scene.wait(lane=scene.world.lane(gone.session))
    scene.world.end_session(gone.session)
    assert scene.status() == [3, 0, True]


def test_abort(scene):
    call = scene.wait()
    scene.ask("abort")
    with pytest.raises(BrokenBarrierError, match="barrier 'start' is broken: it was aborted.*reset"):
        scene.world.arrived(call)
    assert is_broken(scene.wait())


def test_reset_fails_who_waits_and_makes_it_whole(scene):
    call = scene.wait()
    scene.ask("reset")
    with pytest.raises(BrokenBarrierError, match="barrier 'start' was reset"):
        scene.world.arrived(call)
    assert scene.status() == [3, 0, False]
    assert scene.wait().waiter is not None


def test_reset_mends_what_is_broken(scene):
    scene.ask("abort")
    scene.ask("reset")
    calls = [scene.wait() for _ in range(3)]
    assert [call.result[0] for call in calls] == [0, 1, 2]


def test_who_left_a_round_that_is_over_breaks_nothing(scene):
    calls = [scene.wait() for _ in range(3)]
    scene.world.abandon(calls[0])
    scene.world.end_session(calls[1].session)
    assert scene.status() == [3, 0, False]


def test_broken_survives_a_restart(scene):
    scene.ask("abort")
    scene.restart()
    assert is_broken(scene.wait())


# -- with an action ----------------------------------------------------------------------------------


def test_the_last_one_runs_the_action_and_the_others_wait_for_it(acting):
    last, others = acting.act()
    assert not any(call.answered for call in others)
    assert acting.status() == [3, 3, False]
    acting.ask("action_done", True, lane=last.lane)
    assert [call.result for call in others] == [[0, False], [1, False]]
    assert acting.status() == [3, 0, False]


def test_one_party_runs_it_alone():
    scene = Scene(parties=1, has_action=True)
    last, _ = scene.act(1)
    scene.ask("action_done", True, lane=last.lane)
    assert scene.status() == [1, 0, False]


def test_an_action_that_fails_breaks_it(acting):
    last, others = acting.act()
    newcomer = acting.wait()
    acting.ask("action_done", False, lane=last.lane)
    assert all(map(is_broken, (*others, newcomer)))
    assert acting.status() == [3, 0, True]


def test_no_time_runs_while_the_action_runs(acting):
    others = [acting.wait(5), acting.wait(5)]
    last = acting.wait(5)
    acting.world.arrived(last)
    newcomer = acting.wait(5)
    acting.world.advance(100)
    assert not any(call.answered for call in (*others, newcomer))
    acting.ask("action_done", True, lane=last.lane)
    assert others[0].result == [0, False]
    acting.world.advance(4)
    assert not newcomer.answered
    acting.world.advance(1)
    assert is_broken(newcomer)


def test_newcomers_are_in_the_rounds_after(acting):
    last, _ = acting.act()
    second = [acting.wait() for _ in range(3)]
    third = acting.wait()
    acting.ask("action_done", True, lane=last.lane)
    assert second[2].result == [2, True]
    assert not any(call.answered for call in (*second[:2], third))
    acting.world.arrived(second[2])
    acting.ask("action_done", True, lane=second[2].lane)
    assert second[0].result == [0, False]
    assert acting.status() == [3, 1, False]


def test_a_newcomer_without_time_breaks_the_next_round_for_all(acting):
    last, others = acting.act()
    newcomers = [acting.wait(), acting.wait(0), acting.wait()]
    acting.ask("action_done", True, lane=last.lane)
    assert others[0].result == [0, False]
    assert all(map(is_broken, newcomers))


@pytest.mark.parametrize(
    ("who", "leave"),
    [
        ("actor", "end_lane"),
        ("actor", "end_session"),
        ("other", "abandon"),
        ("other", "end_lane"),
        ("other", "end_session"),
        ("newcomer", "abandon"),
        ("newcomer", "end_lane"),
        ("newcomer", "end_session"),
    ],
)
def test_who_is_gone_while_the_action_runs(acting, who, leave):
    last, others = acting.act()
    newcomer = acting.wait()
    gone = {"actor": last, "other": others[0], "newcomer": newcomer}[who]
    subject = {"abandon": gone, "end_lane": gone.lane, "end_session": gone.session}[leave]
    getattr(acting.world, leave)(subject)
    if who == "newcomer":
        assert acting.status() == [3, 3, False]
    else:
        assert is_broken(others[1])
        assert is_broken(newcomer)


@pytest.mark.parametrize("leave", ["abandon", "end_session"])
def test_who_was_never_told_to_run_the_action_breaks_it(acting, leave):
    others = [acting.wait(), acting.wait()]
    last = acting.wait()
    getattr(acting.world, leave)(last if leave == "abandon" else last.session)
    assert all(map(is_broken, others))


def test_abort_while_the_action_runs(acting):
    last, others = acting.act()
    acting.ask("abort")
    assert all(map(is_broken, others))
    with pytest.raises(BrokenBarrierError, match="broke or was reset meanwhile"):
        acting.ask("action_done", True, lane=last.lane)
    acting.ask("action_done", False, lane=last.lane)
    assert acting.status() == [3, 0, True]


def test_reset_while_the_action_runs(acting):
    last, others = acting.act()
    newcomer = acting.wait()
    acting.ask("reset")
    assert all(map(is_broken, others))
    assert not newcomer.answered
    assert acting.status() == [3, 1, False]
    with pytest.raises(BrokenBarrierError):
        acting.ask("action_done", True, lane=last.lane)
    acting.ask("action_done", False, lane=last.lane)
    assert acting.status() == [3, 1, False]


def test_only_who_runs_the_action_ends_it(acting):
    _, others = acting.act()
    with pytest.raises(BrokenBarrierError):
        acting.ask("action_done", True)
    assert not others[0].answered


def test_a_round_survives_a_restart(acting):
    last, others = acting.act()
    acting.restart()
    again = [acting.world.resend(call) for call in others]
    assert not any(call.answered for call in again)
    acting.ask("action_done", True, lane=last.lane)
    assert [call.result for call in again] == [[0, False], [1, False]]


def test_who_comes_back_after_the_action_is_answered_all_the_same(acting):
    last, others = acting.act()
    acting.restart()
    acting.ask("action_done", True, lane=last.lane)
    acting.wait()
    assert [acting.world.resend(call).result for call in others] == [[0, False], [1, False]]
    assert acting.status() == [3, 1, False]


def test_who_does_not_come_back_breaks_it(acting):
    last, others = acting.act()
    acting.restart()
    acting.world.end_session(others[0].session)
    assert is_broken(acting.world.resend(others[1]))
    with pytest.raises(BrokenBarrierError):
        acting.ask("action_done", True, lane=last.lane)


def test_what_is_owed_to_the_dead_is_forgotten(acting):
    last, others = acting.act()
    acting.restart()
    acting.ask("action_done", True, lane=last.lane)
    acting.world.end_session(others[0].session)
    acting.world.end_lane(others[1].lane)
    assert not acting.barrier.owed
    assert acting.status() == [3, 0, False]


# -- settings and the end ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"parties": 0}, BadValue, "parties must be > 0"),
        ({"parties": None}, BadType, "whole number as parties"),
        ({"parties": 2, "has_action": "yes"}, BadType, "True or False as has_action"),
        ({"parties": 2, "timeout_s": -1}, BadValue, "timeout of barrier 'start'"),
        ({"parties": 2, "timeout_s": float("nan")}, BadValue, "timeout of barrier 'start'"),
        ({"parties": 2, "timeout_s": "soon"}, BadValue, "timeout of barrier 'start'"),
    ],
)
def test_impossible_settings(settings, error, match):
    with pytest.raises(error, match=match):
        Scene(**settings)


def test_the_deleted_tells_everybody(acting):
    _, others = acting.act()
    newcomer = acting.wait()
    acting.world.delete(acting.barrier)
    for call in (*others, newcomer):
        assert isinstance(call.error, NoSuchObject)


def test_statistics(acting):
    last, _ = acting.act()
    acting.wait()
    assert acting.barrier.statistics() == {
        "parties": 3,
        "waiters": 3,
        "broken": "",
        "actor": (last.session.id, 1),
        "newcomers": 1,
    }
