"""Owners that come back after their session expired: really stopped processes, and lost connections."""

from __future__ import annotations

import signal

import pytest

import mpclient
from mpclient.testing import wait_until, waiters

EXPIRES = ("--session-timeout", "1s", "--grace", "100ms")


@pytest.fixture
def server(fresh_server):
    """A server on which silence soon counts as death."""
    return fresh_server(*EXPIRES)


def sessions(cluster):
    return {s["id"]: s for s in cluster.status()["sessions"]}


def stop_until_expired(run, cluster, session_id):
    run.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: session_id not in sessions(cluster), 30)


# -- a process that is stopped --------------------------------------------------------------------

STOPPED = """\
kind, name = sys.argv[1:]
held = getattr(cluster, kind)(name=name)
take = getattr(held, "get", None) or held.acquire
release = getattr(held, "task_done", None) or held.release
log = cluster.list(name=name + " log")
def work_beside():
    log.append("before")
    started.set()
    go_on.wait()
    log.append("beside")
started, go_on = threading.Event(), threading.Event()
thread = threading.Thread(target=work_beside)
thread.start()
started.wait()
take()
first = cluster.session.id
say(first)
hear()  # here it is stopped, for too long
go_on.set(); thread.join()
for call in (lambda: log.append("not protected"), log.copy, release):
    try: call()
    except mpclient.StaleOwner as err: say(type(err).__name__)
    else: say("went on")
log.append("after")
say(cluster.session.id != first)
"""
KINDS = ["Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "JoinableQueue"]


POOL = """\
pool = cluster.Pool()
result = pool.apply_async(abs, (-1,))
say(cluster.session.id)
hear()  # here it is stopped, for too long
try: result.get()
except mpclient.ServerGone as err: say(err)
"""


def test_a_pool_that_is_lost_says_why(server, program):
    with server.connect() as cluster:
        run = program(POOL)
        stop_until_expired(run, cluster, run.line())
        run.process.send_signal(signal.SIGCONT)
        run.say()
        told = run.finish()
    assert told.startswith("the pool is lost with its jobs: the server ended session ")
    assert "silent for 1 s" in told


@pytest.mark.parametrize("kind", KINDS)
def test_a_holder_that_was_stopped_for_too_long_cannot_go_on(server, program, kind):
    with server.connect() as cluster:
        held = getattr(cluster, kind)(name="held")
        if kind == "JoinableQueue":
            held.put("item")
        run = program(STOPPED, kind, "held")
        stop_until_expired(run, cluster, run.line())
        assert held.get(timeout=10) == "item" if kind == "JoinableQueue" else held.acquire(timeout=10)
        run.process.send_signal(signal.SIGCONT)
        run.say()
        assert run.finish().splitlines() == ["StaleOwner"] * 3 + ["True"]
        assert cluster.list(name="held log").copy() == ["before", "beside", "after"]
        # It is still ours: the release was not that of the stopped one.
        if kind == "JoinableQueue":
            assert held.unfinished() == 1 if hasattr(held, "unfinished") else True
            held.task_done()
            held.join()
        else:
            held.release()
            assert held.acquire(timeout=0) if kind == "Semaphore" else held.acquire(False)


RELEASED = """\
lock = cluster.Lock(name="signal")
lock.acquire()
first = cluster.session.id
say(first)
hear()
say(lock.locked())
say(cluster.session.id != first)
"""


def test_a_lock_that_somebody_released_makes_nobody_stale(server, program):
    with server.connect() as cluster:
        run = program(RELEASED)
        session_id = run.line()
        cluster.Lock(name="signal").release()
        stop_until_expired(run, cluster, session_id)
        run.process.send_signal(signal.SIGCONT)
        run.say()
        assert run.finish() == "False\nTrue"


WAITS = """\
q, news = cluster.Queue(name="q"), cluster.Condition(name="news")
first = cluster.session.id
def wait():
    with news:
        try: news.wait()
        except mpclient.StaleOwner: say("stale while waiting"); raise
def wait_quietly():
    try: wait()
    except mpclient.StaleOwner: say("and at the end")
thread = threading.Thread(target=wait_quietly)
thread.start()
say(first)
say(q.get(timeout=60))
thread.join()
"""


def test_who_waited_waits_on_and_who_gave_a_lock_up_for_it_is_stale(server, program):
    with server.connect() as cluster:
        q, news = cluster.Queue(name="q"), cluster.Condition(name="news")
        run = program(WAITS)
        session_id = run.line()
        wait_until(lambda: waiters(cluster, q) == waiters(cluster, news) == 1)
        stop_until_expired(run, cluster, session_id)
        run.process.send_signal(signal.SIGCONT)
        wait_until(lambda: waiters(cluster, q) == 1)
        q.put("item")
        assert sorted(run.finish().splitlines()) == ["and at the end", "item", "stale while waiting"]
        assert waiters(cluster, news) == 0


# -- connections that are lost --------------------------------------------------------------------


@pytest.fixture
def expiring(server, relay):
    """A cluster behind the relay, and a function that lets its session expire."""
    with server.connect() as watching, mpclient.connect(relay.address, server.key) as cluster:

        def expire():
            session_id = cluster.session.id
            relay.refusing = True
            relay.cut()
            wait_until(lambda: session_id not in sessions(watching))
            relay.refusing = False

        yield cluster, expire


def test_releases_come_first_and_each_is_told(expiring):
    cluster, expire = expiring
    locks = [cluster.Lock(name="a"), cluster.RLock(name="b")]
    locks[0].acquire()
    locks[1].acquire()
    locks[1].acquire()
    expire()
    for lock, left in ((locks[1], 2), (locks[0], 1)):
        for _ in range(left):
            with pytest.raises(mpclient.StaleOwner, match=r"held .*'[ab]'.* not protected"):
                lock.release()
    assert [lock.locked() for lock in locks] == [False, False]


def test_a_with_block_ends_in_it_and_the_thread_goes_on(expiring):
    cluster, expire = expiring
    lock, counter = cluster.Lock(name="lock"), cluster.dict(name="counter")
    with pytest.raises(mpclient.StaleOwner), lock:
        expire()
        counter.incr("n")
    with lock:
        assert counter.copy() == {}


def test_another_thread_that_releases_is_told_and_releases_nothing(server, expiring, in_thread):
    cluster, expire = expiring
    lock = cluster.Lock(name="lock")
    in_thread(lock.acquire)()
    expire()
    with server.connect() as other:
        assert other.Lock(name="lock").acquire(timeout=10)
        with pytest.raises(mpclient.StaleOwner, match="Another thread"):
            lock.release()
        assert lock.locked()
        lock.release()  # it is told once; after that a Lock may be released by anybody, as ever


def test_a_thing_asked_for_anew_is_released_as_ever(expiring, in_thread):
    cluster, expire = expiring
    lock = cluster.Lock(name="lock")
    in_thread(lock.acquire)()
    expire()
    assert lock.acquire()
    lock.release()
    assert not lock.locked()


@pytest.fixture
def answerless(server, relay, in_thread):
    """Make a call whose answer is lost together with the session; returns its cluster and outcome."""
    with server.connect() as watching, mpclient.connect(relay.address, server.key) as cluster:

        def lose(call):
            session_id = cluster.session.id

            def make_it():
                cluster.objects()  # else what is cut is the attachment of this thread
                relay.arm("down", 0, refuse=True)
                return call()

            outcome = in_thread(make_it)
            wait_until(lambda: session_id not in sessions(watching))
            relay.refusing = False
            return outcome

        yield cluster, lose


def test_an_acquire_whose_answer_was_lost_is_made_again(answerless):
    cluster, lose = answerless
    lock = cluster.Lock(name="lock")

    def use():
        with lock:
            return cluster.session.id

    first = cluster.session.id
    assert lose(use)() != first
    assert not lock.locked()


def test_what_nobody_can_know_is_said(answerless):
    """A put may not be done twice, nor silently be taken for done."""
    cluster, lose = answerless
    q = cluster.Queue(name="q")

    with pytest.raises(mpclient.SessionExpired, match="had done queue.put, whose answer is lost"):
        lose(lambda: q.put("item"))()
    assert q.get(timeout=10) == "item"


def test_a_program_that_gave_its_session_up_is_asked_what_it_held(server, relay):
    with (
        server.connect() as other,
        mpclient.connect(relay.address, server.key, reconnect_timeout=0) as cluster,
    ):
        lock = cluster.Lock(name="lock")
        lock.acquire()
        relay.refusing = True
        relay.cut()
        with pytest.raises(mpclient.ServerGone):
            lock.locked()
        assert other.Lock(name="lock").acquire(timeout=10)
        relay.refusing = False
        with pytest.raises(mpclient.StaleOwner):
            lock.release()
        assert lock.locked()
