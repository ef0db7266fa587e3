"""Stock clients that are killed: what they waited for goes to others, what only they could free is freed."""

import pickle
import queue
from multiprocessing import connection

import pytest
from tests.stdlib.conftest import KEY, WAIT_S
from tests.stdlib.named import Named
from tests.stdlib.steps import Thread

pytestmark = [pytest.mark.stock, pytest.mark.chaos]

LARGE = 32 << 20  # more than the system's buffers take: the reply cannot leave whole


@pytest.fixture
def m(server):
    return server.manager(Named)


def test_an_item_is_not_given_to_who_died_waiting(m, server, program, request):
    q = m.get_queue(request.node.name)
    waiting = program(f"say('here'); m.get_queue({request.node.name!r}).get()")
    waiting.hear()
    server.wait_for_waiters(1)
    waiting.kill()
    server.wait_for_waiters(0)
    q.put("for the living")
    assert q.get(timeout=WAIT_S) == "for the living"


def test_the_next_waiter_gets_what_the_dead_one_waited_for(m, server, program, request):
    name = request.node.name
    first = program(f"say('here'); m.get_queue({name!r}).get()")
    first.hear()
    server.wait_for_waiters(1)
    second = program(f"say('here'); say(m.get_queue({name!r}).get())")
    second.hear()
    server.wait_for_waiters(2)
    first.kill()
    server.wait_for_waiters(1)
    m.get_queue(name).put("next")
    assert second.hear() == "next"


@pytest.mark.parametrize("kind", ["get_rlock", "get_condition"])
def test_what_belongs_to_a_connection_is_freed_with_it(kind, m, program, request):
    name = request.node.name
    lock = getattr(m, kind)(name)
    holder = program(f"l = m.{kind}({name!r}); l.acquire(); l.acquire(); say('held'); sys.stdin.read()")
    assert holder.hear() == "held"
    assert not lock.acquire(False)
    taking = Thread(lock.acquire, True, WAIT_S)
    holder.kill()
    assert taking.result() is True


@pytest.mark.parametrize("kind", ["get_lock", "get_semaphore"])
def test_what_belongs_to_nobody_stays_taken_and_anyone_may_release_it(kind, m, server, program, request):
    name = request.node.name
    lock = getattr(m, kind)(name)
    before = len(server.status()["sessions"])
    holder = program(f"l = m.{kind}({name!r}); l.acquire(); say('held'); sys.stdin.read()")
    assert holder.hear() == "held"
    holder.kill()
    server.wait_until(lambda status: len(status["sessions"]) <= before)
    assert not lock.acquire(False)
    lock.release()
    assert lock.acquire(False)


def test_a_dead_waiter_of_a_condition_takes_no_notify(m, server, program, request):
    name = request.node.name
    code = f"c = m.get_condition({name!r}); c.acquire(); say('in'); c.wait(); say('notified')"
    first = program(code)
    first.hear()
    second = program(code)
    second.hear()  # it could acquire, so the first waits
    server.wait_for_waiters(2)
    first.kill()
    server.wait_for_waiters(1)
    c = m.get_condition(name)
    c.acquire()
    c.notify()
    c.release()
    assert second.hear() == "notified"


def test_a_lock_is_not_handed_to_a_dead_waiter(m, server, program, request):
    name = request.node.name
    lock = m.get_lock(name)
    lock.acquire()
    waiting = program(f"say('here'); m.get_lock({name!r}).acquire()")
    waiting.hear()
    server.wait_for_waiters(1)
    waiting.kill()
    server.wait_for_waiters(0)
    lock.release()
    assert lock.acquire(False)


def test_a_barrier_breaks_when_one_of_its_waiters_dies(m, server, program):
    barrier = m.Barrier(2)
    waiting = program(
        "import pickle; b = pickle.loads(bytes.fromhex(sys.stdin.readline())); say('here'); b.wait()"
    )
    waiting.tell(pickle.dumps(barrier).hex())
    waiting.hear()
    server.wait_for_waiters(1)
    waiting.kill()
    server.wait_until(lambda _: barrier.broken)


def raw_call(server, ident, method, *args):
    """Return a connection that has asked, and reads no reply."""
    conn = connection.Client(server.where, authkey=KEY)
    conn.send((None, "accept_connection", ("raw",), {}))
    assert conn.recv() == ("#RETURN", None)
    conn.send((ident, method, args, {}))
    return conn


def test_an_item_whose_reply_was_not_written_whole_returns(m, server):
    q = m.Queue()
    q.put("x" * LARGE)
    q.put("second")
    conn = raw_call(server, q._id, "get")
    server.wait_until(lambda _: q.qsize() == 1)
    conn.close()
    server.wait_until(lambda _: q.qsize() == 2)
    assert len(q.get(timeout=WAIT_S)) == LARGE  # at its old place
    assert q.get(timeout=WAIT_S) == "second"


def test_an_item_that_arrived_is_gone(m, server):
    q = m.Queue()
    q.put("taken")
    conn = raw_call(server, q._id, "get")
    assert conn.recv() == ("#RETURN", "taken")
    conn.close()
    with pytest.raises(queue.Empty):
        q.get(timeout=0.1)


def test_a_put_that_waits_is_forgotten_with_its_client(m, server, program, request):
    q = m.Queue(1)
    q.put("first")
    conn = raw_call(server, q._id, "put", "never")
    server.wait_for_waiters(1)
    conn.close()
    server.wait_for_waiters(0)
    assert q.get() == "first"
    assert q.qsize() == 0
