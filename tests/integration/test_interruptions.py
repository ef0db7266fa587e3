"""Signals and forks in the middle of things: what the standard library's users rely on then."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from mpclient.objects.t_barrier import Barrier
from mpclient.testing import wait_until, waiters
from mpshared.errors import BrokenBarrierError, NotHeld

LIMIT_S = 20.0
ALARM = """
def ring(*_):
    raise TimeoutError("the alarm")
import signal
signal.signal(signal.SIGALRM, ring)
"""


@pytest.mark.parametrize(("make", "wait"), [("Queue", "get"), ("Event", "wait"), ("Lock", "acquire")])
def test_an_alarm_that_raises_timeout_error_ends_the_call(program, cluster, unique, make, wait):
    """TimeoutError is an OSError: it must not pass for a broken connection."""
    shared = getattr(cluster, make)(name=unique)
    if make == "Lock":
        shared.acquire()
    run = program(
        f"{ALARM}\nshared = cluster.{make}(name=sys.argv[1])\n"
        f"try: shared.{wait}()\n"
        "except TimeoutError as err: say(type(err).__module__, err)\n"
        "say(shared._handle.session.id in {s['id'] for s in cluster.status()['sessions']})\n",
        unique,
    )
    wait_until(lambda: waiters(cluster, shared) == 1)
    run.process.send_signal(signal.SIGALRM)
    assert run.finish().splitlines() == ["builtins the alarm", "True"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGALRM])
@pytest.mark.parametrize("lock", ["", "cluster.Lock()", "cluster.RLock()"])
def test_an_interrupted_wait_holds_the_lock_again(program, cluster, unique, lock, number):
    """As in threading: the `with` around it releases the lock, and the caller sees its own exception."""
    shared = cluster.list(name=unique)
    run = program(
        f"{ALARM}\ncondition = cluster.Condition({lock})\n"
        "cluster.list(name=sys.argv[1]).append(condition)\n"
        "try:\n"
        "    with condition:\n"
        "        try: condition.wait()\n"
        "        finally: say(condition.locked())\n"
        "except (KeyboardInterrupt, TimeoutError) as err: say(type(err).__name__)\n"
        "say(condition.locked())\n"
        "with condition: condition.notify()\n",
        unique,
    )
    wait_until(lambda: len(shared) == 1)
    wait_until(lambda: waiters(cluster, shared[0]) == 1)
    run.process.send_signal(number)
    name = "KeyboardInterrupt" if number == signal.SIGINT else "TimeoutError"
    assert run.finish().splitlines() == ["True", name, "False"]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_child_that_only_puts_loses_nothing(program, cluster, unique, method):
    """A child's session has not even begun when its buffered items are to be sent."""
    q = cluster.Queue(name=unique)
    run = program(
        "import multiprocessing\n"
        "def work(q):\n"
        "    for number in range(100): q.put(number)\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    q = cluster.Queue(name=sys.argv[1], buffered=True)\n"
        "    child = context.Process(target=work, args=(q,))\n"
        "    child.start()\n"
        "    child.join()\n"
        "    say(child.exitcode)\n",
        unique,
    )
    assert run.finish() == "0"
    assert q.get_many(1000) == list(range(100))


@pytest.mark.parametrize(
    "take", ["Queue.get", "Queue.get_many", "Lock.acquire", "RLock.acquire", "Semaphore.acquire"]
)
def test_what_an_interrupted_call_took_returns_although_it_sent_a_buffer_first(cluster, take, monkeypatch):
    """The answer has come and the caller does not have it yet; buffered items went over the same lane."""
    make, method = take.split(".")
    shared, buffered = getattr(cluster, make)(), cluster.Queue(buffered=True)
    if make == "Queue":
        shared.put("item")

    session = shared._handle.session
    answered = session.call

    def interrupted(*args):
        answered(*args)
        raise KeyboardInterrupt

    with buffered._buffer._sending, monkeypatch.context() as patched:  # the call below has to send the item
        buffered.put("held back")
        patched.setattr(session, "call", interrupted)
        with pytest.raises(KeyboardInterrupt):
            getattr(shared, method)(*((5,) if method == "get_many" else ()))
    assert buffered.qsize() == 1
    free = {"Queue": "qsize", "Semaphore": "get_value"}.get(make)
    wait_until(lambda: getattr(shared, free)() == 1 if free else not shared.locked())


@pytest.mark.parametrize("lock", ["Lock", "RLock"])
def test_an_interrupted_wait_takes_nothing_that_it_never_had(cluster, lock, monkeypatch):
    """The server has said that this program does not hold the lock, and it did not hear that any more."""
    shared = getattr(cluster, lock)()
    condition = cluster.Condition(shared)
    session = condition._handle.session
    answered = session.call

    def interrupted(*args):
        monkeypatch.undo()
        with pytest.raises(NotHeld):
            answered(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        condition.wait()
    assert not shared.locked()


@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError])
@pytest.mark.parametrize("step", ["the answer", "its way up", "the action's beginning"])
def test_who_is_interrupted_before_the_action_breaks_the_barrier(cluster, monkeypatch, step, error):
    """The server has told this party to run the action, and all others wait for the end of that."""
    barrier = cluster.Barrier(2, action=str)
    session = barrier._handle.session
    owner, name = {
        "the answer": (session, "call"),
        "its way up": (Barrier, "_call"),
        "the action's beginning": (Barrier, "_act"),
    }[step]
    goes_on = getattr(owner, name)

    def interrupted(*args, **more):
        monkeypatch.undo()
        if name != "_act":
            goes_on(*args, **more)
        raise error

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(barrier.wait)
        try:
            wait_until(lambda: waiters(cluster, barrier) == 1)
            monkeypatch.setattr(owner, name, interrupted)
            with pytest.raises(error):
                barrier.wait()
            with pytest.raises(BrokenBarrierError):
                other.result(LIMIT_S)
        finally:
            barrier.abort()
