"""`mpserve start --data`: a server that is killed goes on where it was, and its clients hardly notice."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter

import pytest
from tests import prepared
from tests.integration import durable as keeping
from tests.integration.conftest import Server
from tests.integration.durable import connect, restart

import mpclient
from mpclient.testing import wait_until, waiters
from mpshared.spinning import can_spin

pytestmark = [pytest.mark.hosts, pytest.mark.chaos]
durable = keeping.durable


# -- what survives --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_objects_and_values_survive(durable, number):
    server = durable()
    with connect(server) as cluster:
        plain = cluster.dict({"a": 1, (1, 2): [3]}, name="d")
        words = cluster.list(["one", "two", "three"], name="l")
        members = cluster.set({1, "x"}, name="s")
        space = cluster.Namespace(name="n", x=1.5)
        number_of = cluster.Value("i", 7, name="v")
        numbers = cluster.Array("d", [1.5, 2.5], name="a")
        flag = cluster.Event(name="e")
        flag.set()
        permits = cluster.Semaphore(5, name="p")
        permits.acquire()
        nested = cluster.list([cluster.dict(inside=1)])
        restart(server, number)
        assert plain.copy() == {"a": 1, (1, 2): [3]}
        assert list(words) == ["one", "two", "three"]
        assert members.copy() == {1, "x"}
        assert space.x == 1.5
        assert number_of.value == 7
        assert numbers[:] == [1.5, 2.5]
        assert flag.is_set()
        assert permits.get_value() == 4
        assert nested[0]["inside"] == 1
    with connect(server) as later:
        assert later.dict(name="d")["a"] == 1


def test_queues_survive_with_order_leases_and_counts(durable):
    server = durable()
    with connect(server) as cluster:
        tasks = cluster.JoinableQueue(name="tasks")
        tasks.put_many(range(5))
        assert [tasks.get(), tasks.get()] == [0, 1]
        tasks.task_done()
        heap = cluster.PriorityQueue(name="heap")
        for n in (3, 1, 2):
            heap.put(n)
        restart(server)
        assert tasks.qsize() == 3
        tasks.task_done()  # of item 1, which was leased before
        assert [tasks.get() for _ in range(3)] == [2, 3, 4]
        for _ in range(3):
            tasks.task_done()
        assert tasks.join(timeout=10)
        assert [heap.get() for _ in range(3)] == [1, 2, 3]


def test_what_a_lost_client_had_leased_comes_back(durable, program):
    server = durable("--session-timeout", "1s")
    run = program(
        """
tasks = cluster.JoinableQueue(name="tasks")
tasks.put("job")
tasks.get()
say("has it")
hear()
""",
        environment=server.environment,
    )
    line = run.line()
    assert line == "has it", run.process.stderr.read()
    server.send_signal(signal.SIGKILL)
    server.wait()
    run.kill()
    server.start(port=int(server.address.rpartition(":")[2]))
    with connect(server) as cluster:
        assert cluster.JoinableQueue(name="tasks").get(timeout=20) == "job"


def test_owners_keep_their_locks(durable, in_thread):
    server = durable()
    with connect(server) as cluster, connect(server) as other:
        lock, again = cluster.Lock(name="lock"), cluster.RLock(name="again")
        lock.acquire()
        again.acquire()
        again.acquire()
        restart(server)
        assert not other.Lock(name="lock").acquire(block=False)
        waits = in_thread(lambda: other.Lock(name="lock").acquire(timeout=20))
        lock.release()
        assert waits() is True
        again.release()
        assert not other.RLock(name="again").acquire(block=False)
        again.release()
        assert other.RLock(name="again").acquire(block=False)


def test_a_lock_of_an_owner_that_does_not_return_is_handed_on(durable, program):
    server = durable("--session-timeout", "1s")
    run = program(
        'cluster.Lock(name="lock").acquire()\nsay("has it")\nhear()\n', environment=server.environment
    )
    line = run.line()
    assert line == "has it", run.process.stderr.read()
    server.send_signal(signal.SIGKILL)
    server.wait()
    run.kill()
    server.start(port=int(server.address.rpartition(":")[2]))
    with connect(server) as cluster:
        assert cluster.Lock(name="lock").acquire(timeout=20)


RETURNS = """\
lock = cluster.Lock(name="lock")
lock.acquire()
say(cluster.session.id)
hear()
for call in (lock.locked, lock.release, lock.locked):
    try: say(call())
    except mpclient.StaleOwner: say("StaleOwner")
"""


def test_an_owner_that_returns_after_its_end_and_a_restart_is_stale(durable, program):
    server = durable("--session-timeout", "1s")
    run = program(RETURNS, environment=server.environment)
    session_id = run.line()
    run.process.send_signal(signal.SIGSTOP)
    with connect(server) as cluster:
        lock = cluster.Lock(name="lock")
        assert lock.acquire(timeout=20)
        assert session_id not in [s["id"] for s in cluster.status()["sessions"]]
        restart(server)
        assert lock.locked()
        run.process.send_signal(signal.SIGCONT)
        run.say()
        assert run.finish().split() == ["StaleOwner", "StaleOwner", "True"]
        lock.release()


# -- a restart that nobody notices ----------------------------------------------------------------


def test_parked_calls_go_on_waiting(durable, in_thread):
    server = durable()
    with connect(server) as cluster, connect(server) as other:
        queue, flag, lock = cluster.Queue(name="q"), cluster.Event(name="e"), cluster.Lock(name="l")
        condition = cluster.Condition(name="c")
        assert other.Lock(name="l").acquire()
        got, seen, held = in_thread(queue.get), in_thread(flag.wait), in_thread(lock.acquire)

        def wait() -> bool:
            with condition:
                return condition.wait(20)

        notified = in_thread(wait)
        wait_until(lambda: all(waiters(other, each) == 1 for each in (queue, flag, lock, condition)))
        restart(server)
        other.Queue(name="q").put("there")
        other.Event(name="e").set()
        other.Lock(name="l").release()
        assert (got(), seen(), held()) == ("there", True, True)
        theirs = other.Condition(name="c")
        with theirs:
            theirs.notify()
        assert notified() is True


def test_calls_that_a_restart_breaks_are_applied_once(durable, in_thread):
    server = durable()
    with connect(server) as cluster:
        counts, queue = cluster.dict(name="counts"), cluster.Queue(name="q")
        counts["n"] = 0
        rounds, answers = 300, []

        def work() -> None:
            for n in range(rounds):
                answers.append(counts.incr("n", 1))
                queue.put(n)

        working = in_thread(work)
        for least in (50, 150):
            wait_until(lambda least=least: len(answers) >= least, 60)
            restart(server)
        working()
        assert answers == list(range(1, rounds + 1))
        assert queue.get_many(rounds + 1) == list(range(rounds))


def test_items_that_are_got_across_restarts_come_once(durable, in_thread):
    server = durable()
    with connect(server) as cluster, connect(server) as other:
        queue = cluster.Queue(name="q")
        queue.put_many(range(400))
        got = []

        def take() -> None:
            theirs = other.Queue(name="q")
            while (n := theirs.get()) is not None:
                got.append(n)

        taking = in_thread(take)
        for least in (50, 200):
            wait_until(lambda least=least: len(got) >= least, 60)
            restart(server)
        queue.put(None)
        taking()
        assert got == list(range(400))


@pytest.fixture
def work(tmp_path):
    """A factory: worker hosts of two processes."""
    hosts = []

    def start(server: Server) -> subprocess.Popen[bytes]:
        words = ("mpworker", "--connect", server.address, "--processes", "2")
        with (tmp_path / "worker.log").open("wb") as log:
            hosts.append(prepared.start(*words, env=server.environment, stdout=log, stderr=log))
        return hosts[-1]

    yield start
    for host in hosts:
        host.terminate()
        host.wait(20)


def test_workers_go_on(durable, work):
    server = durable()
    worker = work(server)
    with connect(server) as cluster:
        tasks, results = cluster.JoinableQueue(name="tasks"), cluster.Queue(name="results")
        assert cluster.cpu_count() == 2
        for n in range(200):
            tasks.put(_Double(n))
            if n in {60, 120}:
                restart(server)
        assert tasks.join(timeout=60)
        found = Counter(results.get_many(1000))
        assert found == Counter(2 * n for n in range(200))
        for _ in range(2):
            tasks.put(None)
    assert worker.wait(20) == 0


def test_pools_go_on(durable, work):
    server = durable()
    work(server)
    with connect(server) as cluster, cluster.Pool(initializer=int) as pool:
        assert cluster.cpu_count() == 2
        answers = []
        for answer in pool.imap(abs, range(0, -3000, -1)):
            answers.append(answer)
            if answer in {50, 1500}:
                restart(server)
        assert answers == list(range(3000))
        restart(server)
        assert pool.map(abs, [-1, -2]) == [1, 2]
        assert [o["unfinished"] for o in cluster.status()["objects"] if o["kind"] == "pool"] == [0]


class _Double:
    def __init__(self, n: int) -> None:
        self.n = n

    def __reduce__(self):
        # by name from a module that workers have
        from functools import partial

        return partial, (int.__mul__, 2, self.n)


def test_jobs_that_are_delayed_or_retried_go_on(durable, work):
    server = durable()
    with connect(server) as cluster, cluster.executor() as executor:
        again = executor.options(retries=1, backoff=5).submit(int, "no number")
        work(server)
        wait_until(lambda: pools(cluster, "delayed") == 1, 20)
        late = executor.options(delay=3).submit(pow, 2, 10)
        wait_until(lambda: pools(cluster, "delayed") == 2, 5)
        restart(server)
        assert pools(cluster, "delayed") <= 2
        assert late.result(30) == 1024
        with pytest.raises(ValueError, match="no number"):
            again.result(30)
        assert pools(cluster, "unfinished") == 0


def test_jobs_and_kept_results_survive(durable, work):
    server = durable()
    with connect(server) as cluster:
        done = cluster.options(key="done").submit(pow, 2, 10)
        late = cluster.options(key="late", delay=3600).submit(pow, 2, 11)
        short = cluster.options(ttl=0.5).submit(pow, 2, 12)
        work(server)
        assert (done.result(30), short.result(30)) == (1024, 4096)
    restart(server)
    with connect(server) as cluster:
        assert cluster.job(done.id).result(30) == 1024
        assert cluster.job(late.id).state() == "delayed"
        assert cluster.options(key="late").submit(pow, 2, 13) == cluster.job(late.id)
        wait_until(lambda: pools(cluster, "kept") == 1, 20)
        with pytest.raises(LookupError, match="was kept for its ttl"):
            cluster.job(short.id)


def pools(cluster: mpclient.Cluster, what: str) -> int:
    return sum(found[what] for found in cluster.status()["objects"] if found["kind"] == "pool")


# -- waiting for the disk -------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing but an answer wakes who waits for it")
@pytest.mark.skipif(not can_spin(), reason="on one processor nobody looks awake")
@pytest.mark.parametrize("data", [True, False])
def test_who_waits_for_the_disk_or_for_others_is_woken_by_the_answer_alone(
    durable, fresh_server, data, monkeypatch
):
    slept = []

    def poll_at(sock):
        return lambda: slept.append(sock)

    monkeypatch.setattr("mpclient.transport.dialling.poll_at", poll_at)
    monkeypatch.setattr("mpclient.transport.dialling.share_one_processor", lambda _: False)
    monkeypatch.setattr("mpclient.transport.awake._look", lambda _sock, _spin: None)  # always in vain
    server = durable() if data else fresh_server()
    with connect(server) as cluster:
        shared, queue = cluster.dict(name="d"), cluster.Queue(name="q")
        slept.clear()
        shared["a"] = 1
        assert shared["a"] == 1
        assert len(slept) == (2 if data else 0)
        slept.clear()
        queue.put_many([1])
        assert queue.get() == 1
        assert len(slept) == 2
