"""Owners that die, real ones: what becomes of what they held, by the policy that a lock was made with."""

from __future__ import annotations

import json
import os
import re
import socket
from functools import partial

import pytest
from tests import prepared
from tests.integration import workers

import mpclient
from mpclient.testing import wait_until, waiters

mpworker = workers.mpworker

HOLDS = """\
lock = getattr(cluster, sys.argv[2])(name=sys.argv[1])
lock.acquire()
say(lock.fence)
hear()
"""
KINDS = ["Lock", "RLock", "Condition"]


@pytest.fixture
def held(program, cluster, unique):
    """Make a lock that a program holds; returns both, and the holder's fence."""

    def make(kind, policy=None):
        lock = getattr(cluster, kind)(name=unique, on_owner_death=policy)
        run = program(HOLDS, unique, kind)
        return lock, run, int(run.line())

    return make


@pytest.mark.parametrize("kind", KINDS)
class TestPolicies:
    def test_release_hands_it_to_who_waits(self, held, cluster, in_thread, kind):
        lock, run, fence = held(kind)

        def take():
            with lock:
                return lock.fence

        waiting = in_thread(take)
        wait_until(lambda: waiting_for(cluster, lock) == 1)
        run.kill()
        assert waiting() == fence + 1

    def test_raise_tells_until_somebody_recovers_it(self, held, cluster, in_thread, kind):
        lock, run, fence = held(kind, "raise")
        waiting = in_thread(lock.acquire)
        wait_until(lambda: waiting_for(cluster, lock) == 1)
        run.kill()
        with pytest.raises(mpclient.LockAbandoned, match="recover"):
            waiting()
        with pytest.raises(mpclient.LockAbandoned), lock:
            pytest.fail("it is not held")
        assert lock.recover() is True
        assert lock.recover() is False
        assert lock.fence == fence + 1
        lock.release()
        with lock:
            assert lock.fence == fence + 2

    def test_hold_keeps_it_locked(self, held, cluster, in_thread, kind):
        lock, run, _ = held(kind, "hold")
        waiting = in_thread(lambda: lock.acquire() and lock.release())
        wait_until(lambda: waiting_for(cluster, lock) == 1)
        run.kill()
        wait_until(lambda: described(cluster, lock)["abandoned"])
        assert lock.acquire(False) is False
        assert lock.recover() is True
        lock.release()
        waiting()


def described(cluster, proxy):
    ident = proxy._handle.ident
    return next(o for o in cluster.status()["objects"] if o["ident"] == ident)


def waiting_for(cluster, lock):
    return described(cluster, lock).get("acquirers", waiters(cluster, lock))


def test_a_condition_on_a_lock_of_that_policy(held, cluster):
    lock, run, _ = held("Lock", "raise")
    news = cluster.Condition(lock, on_owner_death="raise")
    run.kill()
    wait_until(lambda: described(cluster, lock)["abandoned"])
    with pytest.raises(mpclient.LockAbandoned), news:
        pytest.fail("it is not held")
    with pytest.raises(mpclient.Conflict, match="on_owner_death='raise'.*'hold'"):
        cluster.Condition(lock, on_owner_death="hold")


NOTIFIES = """\
news = cluster.Condition(name=sys.argv[1])
with news:
    news.notify()
    say("notified")
    hear()
"""


@pytest.mark.parametrize("recovers", [False, True])
def test_a_with_whose_wait_lost_the_lock(program, cluster, unique, in_thread, recovers):
    news = cluster.Condition(name=unique, on_owner_death="raise")

    def wait():
        with news:
            try:
                news.wait()
            except mpclient.LockAbandoned:
                assert not recovers or news.recover()
                raise

    waiting = in_thread(wait)
    wait_until(lambda: waiters(cluster, news) == 1)
    run = program(NOTIFIES, unique)
    assert run.line() == "notified"
    run.kill()
    with pytest.raises(mpclient.LockAbandoned):  # and no NotHeld at the end of the block
        waiting()
    assert news.recover() is not recovers


def test_a_policy_that_there_is_not(cluster):
    with pytest.raises(ValueError, match="on_owner_death of .* is one of"):
        cluster.Lock(on_owner_death="maybe")


def test_only_the_holder_has_a_fence(cluster, in_thread):
    lock, rlock = cluster.Lock(), cluster.RLock()
    for each in (lock, rlock):
        with pytest.raises(mpclient.NotHeld):
            _ = each.fence
    with lock, rlock:
        assert in_thread(lambda: lock.fence)() == lock.fence  # a Lock is its program's, an RLock its thread's
        with pytest.raises(mpclient.NotHeld):
            in_thread(lambda: rlock.fence)()


# -- signals, and those who wait with the dead ------------------------------------------------------


def test_a_lock_as_a_signal(program, cluster, unique):
    lock = cluster.Lock(name=unique)
    run = program(
        "lock = cluster.Lock(name=sys.argv[1])\n"
        "for _ in range(3):\n"
        "    lock.acquire(); say('waiting'); lock.acquire(); lock.release(); say('told')\n",
        unique,
    )
    for _ in range(3):
        assert run.line() == "waiting"
        wait_until(lambda: waiters(cluster, lock) == 1)
        lock.release()
        assert run.line() == "told"
    run.finish()


@pytest.mark.parametrize("end", ["finish", "kill"])
def test_a_semaphore_as_a_signal_is_not_given_back_by_who_took_it(program, cluster, unique, end):
    signal = cluster.Semaphore(0, name=unique)
    source = "signal = cluster.Semaphore(0, name=sys.argv[1])\nsignal.acquire()\n"
    source += (
        "signal.get_value()  # so that the server knows that it has the answer\nsay(cluster.session.id)\n"
    )
    run = program(source + ("" if end == "finish" else "hear()\n"), unique)
    wait_until(lambda: waiters(cluster, signal) == 1)
    signal.release()
    session_id = run.line()
    getattr(run, end)()
    wait_until(lambda: session_id not in [s["id"] for s in cluster.status()["sessions"]])
    assert signal.get_value() == 0
    signal.release()
    assert signal.acquire(False)


def test_the_permits_of_the_killed_return(program, cluster, unique, in_thread):
    permits = cluster.Semaphore(2, name=unique)
    run = program(
        "permits = cluster.Semaphore(name=sys.argv[1])\n"
        "permits.acquire(); permits.acquire(); say('has both'); hear()\n",
        unique,
    )
    run.line()
    waiting = in_thread(lambda: permits.acquire(timeout=20) and permits.acquire(timeout=20))
    wait_until(lambda: waiters(cluster, permits) == 1)
    run.kill()
    assert waiting() is True


def test_a_barrier_breaks_when_a_party_is_killed(program, cluster, unique, in_thread):
    barrier = cluster.Barrier(3, name=unique)
    run = program("cluster.Barrier(3, name=sys.argv[1]).wait()\n", unique)
    waiting = in_thread(barrier.wait)
    wait_until(lambda: barrier.n_waiting == 2)
    run.kill()
    with pytest.raises(mpclient.BrokenBarrierError, match="gone"):
        waiting()
    assert barrier.broken
    barrier.reset()
    assert not barrier.broken


def test_a_notify_is_not_spent_on_the_dead(program, cluster, unique, in_thread):
    news = cluster.Condition(name=unique)
    run = program("news = cluster.Condition(name=sys.argv[1])\nwith news: news.wait()\n", unique)
    wait_until(lambda: waiters(cluster, news) == 1)

    def wait():
        with news:
            return news.wait(timeout=20)

    waiting = in_thread(wait)
    wait_until(lambda: waiters(cluster, news) == 2)
    run.kill()
    with news:
        news.notify()
    assert waiting() is True


def test_a_supervisors_report_hands_a_lock_on_at_once(fresh_server, mpworker, in_thread):
    """Nothing else would, within the test's time: connections may be lost for long here."""
    server = fresh_server("--grace", "10m")
    mpworker(server).ready()
    with server.connect() as cluster:
        lock = cluster.Lock(name="held")

        def die_with(lock):
            lock.acquire()
            os.kill(os.getpid(), 9)

        results = cluster.Queue(name="tasks results")
        cluster.JoinableQueue(name="tasks").put(partial(die_with, lock))
        assert isinstance(results.get(timeout=20), mpclient.WorkerDied)
        assert lock.acquire(timeout=20)


# -- deadlocks --------------------------------------------------------------------------------------

CROSSES = """\
first, second = (cluster.Lock(name=name) for name in sys.argv[1:])
first.acquire()
say("has the first")
hear()
try:
    say(second.acquire(timeout=30))
except mpclient.DeadlockError as err:
    say("DeadlockError")
"""


@pytest.fixture
def crossed(program, cluster, unique):
    """Return two locks; this thread holds the second, and a program the first: it wants the second, too."""
    names = f"{unique} 1", f"{unique} 2"
    locks = [cluster.Lock(name=name, deadlock="raise") for name in names]
    run = program(CROSSES, *names)
    run.line()
    locks[1].acquire()
    run.say()
    wait_until(lambda: waiters(cluster, locks[1]) == 1)
    return (*locks, run)


def test_a_deadlock_of_two_programs(server, crossed):
    first, second, run = crossed
    with pytest.raises(mpclient.DeadlockError, match=re.escape(f"{first._name!r}")):
        first.acquire(timeout=30)
    assert '"event": "lock.deadlock"' in log_of(server, first._name)
    second.release()
    assert run.line() == "True"
    run.finish()


def test_another_thread_of_the_holders_program_closes_no_circle(server, cluster, crossed, in_thread):
    first, second, run = crossed
    waiting = in_thread(lambda: first.acquire(timeout=30))
    wait_until(lambda: waiters(cluster, first) == 1)
    assert "lock.deadlock" not in log_of(server, first._name)
    second.release()
    run.finish()
    assert waiting() is True


def log_of(server, name):
    return "\n".join(line for line in server.log.splitlines() if name in line)


def test_why_shows_who_waits_for_whom(server, cluster, crossed, unique, in_thread):
    first, second, run = crossed
    here = f"{socket.gethostname()}:{os.getpid()}"
    there = f"{socket.gethostname()}:{run.process.pid}"
    told = why(server, second._name)
    assert "1 call waits for locks" in told
    assert [there, here] == [word for word in told.split() if word in {here, there}]
    assert f"lock '{second._name}'" in told
    closing = in_thread(lambda: first.acquire(timeout=30))
    wait_until(lambda: waiters(cluster, first) == 1)
    found = {row["ident"]: row for row in json.loads(why(server, "--json"))["waits"]}
    assert found[first._handle.ident]["holder"]["pid"] == run.process.pid
    assert why(server, cluster.Lock(name=unique)._name) == "nobody waits for a lock\n"
    second.release()
    run.finish()
    assert closing() is True


def why(server, *words):
    said = prepared.run("mpserve", "why", *words, env=server.environment)
    assert said.returncode == 0, said.stderr
    return said.stdout
