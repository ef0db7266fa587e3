"""The life of a client: threads, lost connections, signals, forks, children, and the end of either side."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import sys
import threading

import pytest
from tests.integration.raw import raw_of
from tests.integration.relay import Relay

import mpclient
from mpclient.testing import wait_until, waiters


@pytest.fixture
def relayed(relay, server):
    """A cluster behind the relay."""
    with mpclient.connect(relay.address, server.key, reconnect_timeout=5) as cluster:
        yield cluster


def sessions(cluster):
    return {s["id"]: s for s in cluster.status()["sessions"]}


class TestConnecting:
    def test_describes_itself(self, server, cluster):
        with server.connect(name="my program") as other:
            mine = sessions(cluster)[other.session.id]
            assert mine["name"] == "my program"
            assert mine["pid"] == os.getpid()
            assert mine["role"] == "program"
            assert mine["python"] == list(sys.version_info[:2])

    def test_close_ends_the_session_at_once(self, server, cluster):
        other = server.connect()
        session_id = other.session.id
        other.close()
        assert session_id not in sessions(cluster)
        other.close()
        with pytest.raises(mpclient.ServerGone, match="closed"):
            other.Lock()

    def test_wrong_key(self, server):
        with pytest.raises(mpclient.NotAllowed, match="key"):
            mpclient.connect(server.address, "another key, long enough")

    def test_short_key(self, server):
        with pytest.raises(mpclient.NotAllowed, match="at least 16 random bytes"):
            mpclient.connect(server.address, "short")

    def test_nobody_there(self):
        with pytest.raises(mpclient.ServerGone, match="Is it running"):
            mpclient.connect("127.0.0.1:1", "k" * 16, connect_timeout=0.1)

    def test_who_looks_long_for_a_server_says_so_once(self, monkeypatch, capfd):
        monkeypatch.setattr("mpclient.transport.term.SAY_S", 0)
        with pytest.raises(mpclient.ServerGone):
            mpclient.connect("127.0.0.1:1", "k" * 16, connect_timeout=0.3)
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("mpclient: nobody listens at 127.0.0.1:1")
        assert "mpserve start" in line

    def test_something_else_there(self, relay, server):
        def answer():
            with listener.accept()[0] as peer:
                peer.sendall(b"HTTP/1.1 400 no\r\n\r\n" * 9)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=answer, daemon=True).start()
            with pytest.raises((mpclient.ProtocolViolation, mpclient.ServerGone)):
                mpclient.connect(listener.getsockname(), "k" * 16, connect_timeout=0.2)

    @pytest.mark.parametrize("address", ["nonsense", ("127.0.0.1", 1, 2, 3, 4, "x"), "http://x:1"])
    def test_impossible_addresses(self, address):
        with pytest.raises((ValueError, mpclient.ServerGone)):
            mpclient.connect(address, "k" * 16, connect_timeout=0.01)

    def test_on_a_unix_socket(self, fresh_server, tmp_path):
        with fresh_server(host=f"unix:{tmp_path}/socket").connect() as cluster:
            cluster.Queue().put(1)

    def test_waits_for_a_server_that_is_coming_up(self, fresh_server, in_thread):
        gone = fresh_server()
        port = int(gone.address.rsplit(":", 1)[1])
        gone.stop()
        connecting = in_thread(lambda: gone.connect(connect_timeout=10))
        gone.start(port=port)
        with connecting() as cluster:
            cluster.Lock()


class TestThreads:
    def test_each_thread_has_a_lane(self, cluster, in_thread):
        def number():
            cluster.session.connect_lane()
            return cluster.session._own.lane.number

        assert len({number(), *(in_thread(number)() for _ in range(3))}) == 4

    def test_many_threads_at_once(self, cluster, in_thread):
        counter, lock = cluster.dict(), cluster.Lock()

        def work():
            for _ in range(20):
                counter.incr("steps")
                with lock:
                    counter["careful"] = counter.get("careful", 0) + 1

        for result in [in_thread(work) for _ in range(8)]:
            result()
        assert counter.copy() == {"steps": 160, "careful": 160}

    def test_a_call_within_a_call(self, cluster):
        # An item that makes a call of its own while it is opened.
        q, log = cluster.Queue(), cluster.list()
        q.put(Caller(log))
        assert q.get() == "opened"
        assert log.copy() == ["called"]


class Caller:
    def __init__(self, log):
        self.log = log

    def __reduce__(self):
        return _call, (self.log,)


def _call(log):
    log.append("called")
    return "opened"


class TestLostConnections:
    def test_calls_go_on(self, relay, relayed):
        counter = relayed.dict()
        for _ in range(5):
            counter.incr("n")
            relay.cut()
        assert counter.incr("n") == 6

    def test_each_cut_of_a_request_applies_it_once(self, relay, relayed):
        counter = relayed.dict()
        counter.incr("n")
        for n in range(1, 80):
            relay.arm("up", n)
            assert counter.incr("n") == n + 1
        relay.disarm()
        assert relay.cuts > 40

    def test_each_cut_of_an_answer_applies_it_once(self, relay, relayed):
        q = relayed.Queue()
        q.put_many(range(60))
        for n in range(60):
            relay.arm("down", n)
            assert q.get() == n
        assert relay.cuts > 30

    def test_a_parked_call_keeps_its_place(self, relay, relayed, server, cluster, unique, in_thread):
        q = relayed.Queue(name=unique)
        first = in_thread(q.get)
        wait_until(lambda: waiters(cluster, q) == 1)
        second = in_thread(cluster.Queue(name=unique).get)
        wait_until(lambda: waiters(cluster, q) == 2)
        relay.cut()
        wait_until(lambda: relay.connections >= 4)
        # the control, and both threads' lanes
        wait_until(lambda: sessions(cluster)[relayed.session.id]["connections"] >= 3)
        cluster.Queue(name=unique).put_many(["first", "second"])
        assert (first(), second()) == ("first", "second")

    def test_an_idle_lane_is_mended(self, relay, relayed, cluster, unique):
        lock = relayed.RLock(name=unique)
        lock.acquire()
        before = relay.connections
        relay.cut()
        wait_until(lambda: relay.connections >= before + 2)
        lock.release()

    def test_a_timeout_that_ends_while_disconnected_is_not_empty(self, relay, relayed, in_thread):
        q = relayed.Queue()
        result = in_thread(lambda: q.get(timeout=0.3))
        wait_until(lambda: waiters(relayed, q) == 1)
        relay.refusing = True
        relay.cut()
        with pytest.raises(mpclient.ServerGone, match="timeout"):
            result()

    def test_who_waits_long_for_it_is_told_once_and_when_it_is_back(
        self, relay, relayed, in_thread, monkeypatch, capfd
    ):
        monkeypatch.setattr("mpclient.transport.patience.SAY_S", 0.0)
        locks = [relayed.Lock() for _ in range(3)]
        relay.refusing = True
        relay.cut()
        acquiring = [in_thread(lock.acquire) for lock in locks]
        said = io.StringIO()

        def heard(text: str) -> bool:
            said.write(capfd.readouterr().err)
            return text in said.getvalue()

        wait_until(lambda: heard("\n"))
        relay.refusing = False
        assert [answer() for answer in acquiring] == [True] * 3
        wait_until(lambda: heard("again"))
        lost, back = said.getvalue().splitlines()
        assert re.fullmatch(r"mpclient: .*; trying for \d s more, calls wait meanwhile", lost)
        assert back == f"mpclient: the server at {relay.address} is there again"

    def test_patience_ends(self, relay, server):
        cluster = mpclient.connect(relay.address, server.key, reconnect_timeout=0.2)
        lock = cluster.Lock()
        relay.refusing = True
        relay.cut()
        with pytest.raises(mpclient.ServerGone, match="gone"):
            lock.acquire()
        relay.refusing = False
        cluster.close()

    def test_a_session_that_expired_and_held_nothing_is_replaced_silently(self, fresh_server):
        server = fresh_server("--grace", "50ms")
        host, port = server.address.rsplit(":", 1)
        relay = Relay((host, int(port)))
        with server.connect() as watching, mpclient.connect(relay.address, server.key) as cluster:
            lock, kept = cluster.Lock(name="held"), cluster.dict(a=1)
            with lock:
                kept.incr("b")
            session_id = cluster.session.id
            watching_kept = watching.Queue(name="q")
            cluster.Queue(name="q").put(kept)
            relay.refusing = True
            relay.cut()
            wait_until(lambda: session_id not in sessions(watching))
            relay.refusing = False
            assert lock.locked() is False
            assert cluster.session.id != session_id
            assert kept.copy() == {"a": 1, "b": 1}
            assert watching_kept.get()["a"] == 1
        relay.close()


INTERRUPTED = """\
import random, signal
source, sink = cluster.Queue(name=sys.argv[1]), cluster.list(name=sys.argv[1])
class Stop(BaseException): pass
def stop(_, frame):
    if "mpclient" in frame.f_code.co_filename:  # elsewhere the item is the program's own, to keep or to lose
        raise Stop
signal.signal(signal.SIGALRM, stop)
seen, interrupted = [], 0
say("ready")
while len(seen) < 300:
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 1e-3))
        seen.append(source.get())
    except Stop:
        interrupted += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
sink.extend(seen)
say(interrupted)
"""


class TestInterruption:
    def test_an_interrupted_get_takes_nothing(self, program, cluster, unique):
        q = cluster.Queue(name=unique)
        run = program(
            "q = cluster.Queue(name=sys.argv[1])\n"
            "say('waiting')\n"
            "try: q.get()\n"
            "except KeyboardInterrupt: say('interrupted')\n"
            "hear()\n"
            "say(q.get())\n",
            unique,
        )
        assert run.line() == "waiting"
        wait_until(lambda: waiters(cluster, q) == 1)
        run.process.send_signal(signal.SIGINT)
        assert run.line() == "interrupted"
        wait_until(lambda: waiters(cluster, q) == 0)
        q.put("kept")
        assert q.qsize() == 1
        run.say()
        assert run.finish() == "kept"

    def test_an_interrupted_acquire_holds_nothing(self, program, cluster, unique):
        lock = cluster.Lock(name=unique)
        lock.acquire()
        run = program(
            "lock = cluster.Lock(name=sys.argv[1])\n"
            "say('waiting')\n"
            "try: lock.acquire()\n"
            "except KeyboardInterrupt: say('interrupted')\n"
            "hear()\n",
            unique,
        )
        assert run.line() == "waiting"
        wait_until(lambda: waiters(cluster, lock) == 1)
        run.process.send_signal(signal.SIGINT)
        assert run.line() == "interrupted"
        lock.release()
        assert not lock.locked()
        run.say()
        run.finish()

    def test_interrupted_again_and_again_nothing_is_lost_and_nothing_comes_twice(
        self, program, cluster, unique
    ):
        source, sink = cluster.Queue(name=unique), cluster.list(name=unique)
        run = program(INTERRUPTED, unique)
        run.line()
        source.put_many(range(350))
        assert int(run.finish(60)) > 0
        left = source.get_many(1000)
        assert sorted(sink.copy() + left) == list(range(350))

    def test_a_signal_handler_may_call(self, program, cluster, unique):
        q, log = cluster.Queue(name=unique), cluster.list(name=unique)
        run = program(
            "import signal\n"
            "log = cluster.list(name=sys.argv[1])\n"
            "signal.signal(signal.SIGUSR1, lambda *_: log.append('from the handler'))\n"
            "q = cluster.Queue(name=sys.argv[1])\n"
            "say('waiting')\n"
            "say(q.get())\n",
            unique,
        )
        run.line()
        wait_until(lambda: waiters(cluster, q) == 1)
        run.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: len(log) == 1)
        q.put("then this")
        assert run.finish() == "then this"


class TestDeath:
    def test_a_killed_holders_lock_is_handed_on(self, program, cluster, unique):
        lock = cluster.Lock(name=unique)
        run = program("cluster.Lock(name=sys.argv[1]).acquire()\nsay('held')\nhear()\n", unique)
        assert run.line() == "held"
        assert not lock.acquire(False)
        run.kill()
        assert lock.acquire(timeout=10)

    def test_a_program_that_ends_leaves_no_session(self, program, cluster, unique):
        run = program("say(cluster.session.id)\n", unique)
        session_id = run.line()
        run.finish()
        assert session_id not in sessions(cluster)

    def test_what_was_received_last_is_not_given_again(self, program, cluster, unique):
        q = cluster.Queue(name=unique)
        q.put("once")
        assert program("say(cluster.Queue(name=sys.argv[1]).get())\n", unique).finish() == "once"
        assert q.empty()

    def test_what_a_thread_received_last_is_not_given_again(self, program, cluster, unique):
        q = cluster.Queue(name=unique)
        q.put("once")
        run = program(
            "q = cluster.Queue(name=sys.argv[1])\n"
            "thread = threading.Thread(target=q.get)\n"
            "thread.start(); thread.join()\n"
            "say(q.qsize())\n",
            unique,
        )
        assert run.finish() == "0"


class TestServerEnds:
    def test_stopping_tells_who_waits(self, fresh_server, in_thread):
        server = fresh_server()
        cluster, q = server.connect(), None
        q = cluster.Queue()
        result = in_thread(q.get)
        wait_until(lambda: waiters(cluster, q) == 1)
        server.send_signal(signal.SIGTERM)
        with pytest.raises(mpclient.ServerGone, match="stopped"):
            result()
        with pytest.raises(EOFError):
            q.qsize()
        assert server.wait(5) == 0
        cluster.close()

    def test_killed_is_gone_soon(self, fresh_server, in_thread):
        server = fresh_server()
        cluster = server.connect(reconnect_timeout=60)
        q = cluster.Queue()
        result = in_thread(q.get)
        wait_until(lambda: waiters(cluster, q) == 1)
        server.send_signal(signal.SIGKILL)
        server.wait()
        with pytest.raises(mpclient.ServerGone, match="gone"):
            result()
        cluster.close()

    def test_restarted_is_a_new_world(self, fresh_server):
        server = fresh_server()
        cluster = server.connect()
        named, anonymous = cluster.Queue(name="q"), cluster.dict()
        port = int(server.address.rsplit(":", 1)[1])
        server.stop()
        server.start(port=port)
        with pytest.raises(mpclient.ServerGone):
            named.put(1)
        for lost in (named.qsize, anonymous.copy):
            with pytest.raises(mpclient.ServerRestarted, match="open it again"):
                lost()
        again = cluster.Queue(name="q")
        with pytest.raises(mpclient.ServerGone):  # it is that of before, not the new one of that name
            named.put("stale")
        assert again.qsize() == 0
        again.put(1)
        assert again.get() == 1
        cluster.close()


FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@FORKS
class TestFork:
    def test_a_child_has_a_session_of_its_own(self, program, cluster, unique):
        run = program(
            "shared, lock = cluster.dict(a=1), cluster.Lock(name=sys.argv[1])\n"
            "parent = cluster.session.id\n"
            "pid = os.fork()\n"
            "if pid == 0:\n"
            "    shared['child'] = cluster.session.id != parent\n"
            "    lock.acquire()\n"
            "    os._exit(0)\n"
            "os.waitpid(pid, 0)\n"
            "say(shared.copy())\n"
            "say(lock.acquire(timeout=10))\n",
            unique,
        )
        assert run.finish() == "{'a': 1, 'child': True}\nTrue"

    def test_a_child_does_not_keep_its_dead_parents_locks(self, program, cluster, unique):
        lock = cluster.Lock(name=unique)
        run = program(
            "lock = cluster.Lock(name=sys.argv[1])\n"
            "lock.acquire()\n"
            "if os.fork() == 0:\n"
            "    hear(); os._exit(0)\n"
            "say('held')\n"
            "hear()\n",
            unique,
        )
        assert run.line() == "held"
        run.process.send_signal(signal.SIGKILL)
        assert lock.acquire(timeout=10)

    def test_a_child_does_not_speak_for_the_parents_other_threads(self, program):
        run = program(
            "shared, asked, answered = cluster.list(), threading.Event(), threading.Event()\n"
            "def work():\n"
            "    shared.append(1); answered.set(); asked.wait(10); shared.append(2)\n"
            "thread = threading.Thread(target=work)\n"
            "thread.start(); answered.wait(10)\n"
            "pid = os.fork()\n"
            "if pid == 0:\n"
            "    os._exit(0)\n"
            "os.waitpid(pid, 0)\n"
            "asked.set(); thread.join(10); say(shared.copy())\n"
        )
        assert run.finish() == "[1, 2]"

    def test_an_object_made_before_a_fork_lives_as_long_as_the_child(self, program, cluster):
        run = program(
            "shared = cluster.list([1])\n"
            "if os.fork() == 0:\n"
            "    hear(); say(shared.copy()); os._exit(0)\n"
            "del shared\n"
            "import gc; gc.collect()\n"
            "cluster.close()\n"
            "say('closed')\n"
            "os.wait()\n",
        )
        assert run.line() == "closed"
        run.say()
        assert run.line() == "[1]"
        run.finish()

    def test_buffered_items_are_sent_once(self, program, cluster, unique):
        q = cluster.Queue(name=unique)
        run = program(
            "q = cluster.Queue(name=sys.argv[1], buffered=True)\n"
            "q.put('parent')\n"
            "pid = os.fork()\n"
            "q.put('child' if pid == 0 else 'again')\n"
            "q.close(); q.join_thread()\n"
            "os._exit(0) if pid == 0 else os.waitpid(pid, 0)\n",
            unique,
        )
        run.finish()
        assert sorted(q.get_many(10)) == ["again", "child", "parent"]


CHILDREN = """\
import multiprocessing, os, sys
import mpclient
def work(shared, lock, q, cluster):
    with lock:
        shared["n"] = shared.get("n", 0) + 1
    cluster.Queue(name=sys.argv[2]).put("by name")
    q.put(os.getpid())  # buffered: sent when the child ends
if __name__ == "__main__":
    key = os.environ.pop("MPSERVE_AUTHKEY")  # the children are given it, not told where it is
    address = os.environ.pop("MPSERVE_ADDRESS")
    cluster = mpclient.connect(address, key)
    context = multiprocessing.get_context(sys.argv[1])
    shared, lock, q = cluster.dict(), cluster.Lock(), cluster.Queue(buffered=True)
    children = [context.Process(target=work, args=(shared, lock, q, cluster)) for _ in range(2)]
    for child in children: child.start()
    for child in children: child.join()
    print([child.exitcode for child in children], shared["n"], len({q.get(timeout=5), q.get(timeout=5)}))
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing(program, cluster, unique, method):
    assert program(CHILDREN, method, unique, connected=False).finish(60) == "[0, 0] 2 2"
    assert cluster.Queue(name=unique).get_many(5) == ["by name", "by name"]


def test_closing_wakes_a_call_that_waits(server, in_thread):
    other = server.connect()
    q = other.Queue()
    result = in_thread(q.get)
    wait_until(lambda: waiters(other, q) == 1)
    other.close()
    with pytest.raises(mpclient.ServerGone, match="closed"):
        result()


def test_a_server_that_is_stopped_for_a_while_costs_nobody_the_session(fresh_server):
    """Another server is the clock: it says when somebody who is silent would have been given up."""
    server, clock = fresh_server("--session-timeout", "1s"), fresh_server("--session-timeout", "4s")
    with server.connect() as cluster, clock.connect() as other, raw_of(clock) as raw:
        lock = cluster.Lock()
        lock.acquire()
        server.send_signal(signal.SIGSTOP)
        silent = raw.program().session
        wait_until(lambda: silent not in sessions(other), 30)
        server.send_signal(signal.SIGCONT)
        lock.release()
        assert '"server.stood"' in server.log
        assert '"session.lost"' not in server.log
