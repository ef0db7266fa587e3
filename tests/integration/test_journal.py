"""`mpserve start --data`: a server that is killed goes on where it was, and its clients hardly notice."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import suppress

import pytest
from tests.integration import workers
from tests.integration.conftest import Server

import mpclient
from mpclient.testing import wait_until, waiters
from mpshared.spinning import can_spin

pytestmark = [pytest.mark.hosts, pytest.mark.chaos]
mpworker = workers.mpworker


@pytest.fixture
def durable(tmp_path):
    """A factory: servers with a journal; `restart(server)` kills one and starts it again at its address."""
    started = []

    def start(*options: str, folder=tmp_path / "data") -> Server:
        server = Server(tmp_path / f"server{len(started)}", ("--data", str(folder), *options))
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.stop()


def restart(server: Server, number: int = signal.SIGKILL) -> None:
    server.send_signal(number)
    server.wait()
    server.start(port=int(server.address.rpartition(":")[2]))


def connect(server: Server) -> mpclient.Cluster:
    return server.connect(reconnect_timeout=20.0)


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
            wait_until(lambda least=least: len(answers) >= least, 20)
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
            wait_until(lambda least=least: len(got) >= least, 20)
            restart(server)
        queue.put(None)
        taking()
        assert got == list(range(400))


@pytest.fixture
def work(tmp_path):
    """A factory: worker hosts of two processes."""
    hosts = []

    def start(server: Server) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "mpclient.worker", "--connect", server.address, "--processes", "2"]
        with (tmp_path / "worker.log").open("wb") as log:
            hosts.append(subprocess.Popen(command, env=server.environment, stdout=log, stderr=log))
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


# -- the folder -----------------------------------------------------------------------------------


def run_mpserve(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MPSERVE_")}
    return subprocess.run(
        [sys.executable, "-m", "mpserve", *words],
        env={**kept, "MPSERVE_AUTHKEY": "k" * 32, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_second_server_is_refused(durable, tmp_path):
    server = durable()
    done = run_mpserve("start", "--port", "0", "--data", str(tmp_path / "data"))
    assert done.returncode == 8
    assert done.stderr == (
        f"mpserve start: --data: {tmp_path / 'data'} is in use by another server "
        f"(process {server.process.pid}); stop that one, or name another --data\n"
    )


def test_a_damaged_journal_is_reported_with_what_was_recovered(durable, tmp_path):
    server = durable()
    with connect(server) as cluster:
        queue = cluster.Queue(name="q")
        for n in range(10):
            queue.put(n)
    server.stop()
    file = sqlite3.connect(tmp_path / "data" / "journal-000001.db", isolation_level=None)
    (last,) = file.execute("SELECT max(seq) FROM rows").fetchone()
    file.execute("UPDATE rows SET data = x'00' WHERE seq > ?", (last - 4,))
    file.close()
    server.start(port=int(server.address.rpartition(":")[2]))
    assert '"journal.damaged"' in server.log
    assert "is damaged after that: its checksum is wrong" in server.log
    with connect(server) as cluster:
        queue = cluster.Queue(name="q")
        left = queue.qsize()
        assert 5 <= left < 10
        queue.put("since")
        restart(server)
        assert queue.get_many(20) == [*range(left), "since"]
    assert server.log.count('"journal.damaged"') == 1
    assert sorted(path.name for path in (tmp_path / "data").glob("*.db")) == [
        "damaged-journal-000001.db",
        "journal-000002.db",
        "snapshot-000002.db",
    ]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB, where this user may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, timeout=10)
    except OSError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip("this user may not mount a small file system")
    yield folder
    ctypes.CDLL(None).umount2(os.fsencode(folder), 2)  # MNT_DETACH: also while the server still runs


def filled(small_disk, left_bytes: int = 256 << 10):
    """Return the file that leaves so much room on a disk."""
    filler, room = small_disk / "filler", os.statvfs(small_disk)
    filler.write_bytes(bytes(room.f_bavail * room.f_frsize - left_bytes))
    return filler


def test_a_full_disk_refuses_changes_and_loses_nothing(durable, small_disk):
    server = durable(folder=small_disk / "data")
    with connect(server) as cluster:
        kept = cluster.dict(name="kept")
        kept["before"] = 1
        filler = filled(small_disk)
        acknowledged = 0
        with pytest.raises(mpclient.NoRoom, match="the server cannot write its journal"):
            for n in range(2000):
                kept[f"key{n}"] = b"x" * 20_000
                acknowledged = n + 1
        assert kept["before"] == 1  # reads go on
        assert "full" in cluster.status()["journal"]
        with pytest.raises(mpclient.NoRoom):
            kept["more"] = 1
        filler.unlink()
        wait_until(lambda: _accepts(kept), 20)
        assert cluster.status()["journal"] == ""
        restart(server)
        assert kept["after"] == 1
        assert set(kept.keys()) >= {f"key{n}" for n in range(acknowledged)}
        assert server.log.count('"journal.failed"') == server.log.count('"journal.recovered"') > 0


def test_a_full_disk_costs_no_job_and_no_worker(durable, small_disk, mpworker, tmp_path):
    server, gates = durable(folder=small_disk / "data"), [tmp_path / name for name in ("job", "process")]
    for gate in gates:
        os.mkfifo(gate)
    with connect(server) as cluster, cluster.executor() as executor:
        host, kept = mpworker(server).ready(), cluster.dict(name="kept")
        result = executor.submit(gates[0].read_text)
        process = cluster.Process(target=gates[1].read_text)
        process.start()
        wait_until(result.running, 20)
        filler = filled(small_disk)
        with pytest.raises(mpclient.NoRoom):
            for n in range(2000):
                kept[n] = b"x" * 20_000
        for gate in gates:
            gate.write_text("gone on")
        filler.unlink()
        assert result.result(30) == "gone on"
        process.join(30)
        assert process.exitcode == 0
        assert executor.submit(abs, -1).result(30) == 1
        for event in ("worker.died", "worker.cannot_start", "job.failed"):
            assert host.events(event) == []


def test_a_value_larger_than_the_disk_is_refused_and_holds_up_nobody(durable, small_disk):
    server = durable(folder=small_disk / "data")
    with connect(server) as cluster:
        queue, kept = cluster.Queue(name="q"), cluster.dict(name="kept")
        with pytest.raises(mpclient.NoRoom, match="disk"):
            queue.put(bytes(32 << 20))
        kept["small"] = 1
        assert kept["small"] == 1
        assert queue.qsize() == 0
        assert '"journal.failed"' not in server.log


def test_a_folder_that_was_removed_is_told_and_no_more_is_promised(durable, tmp_path):
    server = durable()
    with connect(server) as cluster:
        kept = cluster.dict(name="kept")
        kept["before"] = 1
        shutil.rmtree(tmp_path / "data")
        wait_until(lambda: not _accepts(kept), 20)
        with pytest.raises(mpclient.NoRoom, match="was removed or replaced.*See to the folder of --data"):
            kept["more"] = 1
        assert kept["before"] == 1
        assert "was removed" in cluster.status()["journal"]
        assert '"journal.failed"' in server.log


def _accepts(kept) -> bool:
    try:
        kept["after"] = 1
    except mpclient.NoRoom:
        return False
    return True


def test_a_long_journal_becomes_a_snapshot(durable, tmp_path):
    server = durable()
    folder = tmp_path / "data"
    with connect(server) as cluster:
        kept, queue = cluster.dict(name="kept"), cluster.Queue(name="q")
        queue.put_many(range(1000))
        for n in range(80):
            kept[n % 3] = bytes(1 << 20)
        wait_until((folder / "snapshot-000002.db").exists, 30)
        wait_until(lambda: not (folder / "journal-000001.db").exists(), 30)
        queue.put("last")
        restart(server)
        assert sorted(kept.keys()) == [0, 1, 2]
        assert queue.get_many(2000) == [*range(1000), "last"]


# -- check, export, import ------------------------------------------------------------------------


def test_an_export_makes_the_same_server_elsewhere(durable, tmp_path):
    server = durable()
    with connect(server) as cluster:
        cluster.dict({"a": 1, (1, 2): b"bytes"}, name="d")
        tasks = cluster.JoinableQueue(name="tasks")
        tasks.put_many(range(10))
        tasks.get()
    server.stop()
    folder, file, other = tmp_path / "data", tmp_path / "export.jsonl", tmp_path / "other"
    checked = run_mpserve("check", str(folder))
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.splitlines()[-1] == "nothing is damaged"
    assert run_mpserve("export", str(folder), str(file)).returncode == 0
    assert run_mpserve("export", str(folder)).stdout == file.read_text()
    made = run_mpserve("import", str(file), str(other))
    assert made.returncode == 0
    assert f"mpserve start --data {other}" in made.stdout
    assert run_mpserve("export", str(other)).stdout == file.read_text()
    again = durable(folder=other)
    with connect(again) as cluster:
        assert cluster.dict(name="d").copy() == {"a": 1, (1, 2): b"bytes"}
        assert cluster.JoinableQueue(name="tasks").get_many(20) == list(range(10))


def test_a_disk_that_was_full_before_the_start(durable, small_disk):
    """Who starts a server again because its disk is full is told so, and finds all that there was."""
    server = durable(folder=small_disk / "data")
    with connect(server) as cluster:
        cluster.dict(name="kept")["before"] = 1
    server.stop()
    (small_disk / "data" / "ballast").unlink()
    filler = small_disk / "filler"
    room = os.statvfs(small_disk)
    with filler.open("wb") as file:
        file.write(bytes(room.f_bavail * room.f_frsize - (2 << 20)))
    server.start()
    with connect(server) as cluster:
        with pytest.raises(mpclient.NoRoom, match="less than 16M are free"):
            cluster.dict(name="kept")
        assert "less than 16M" in cluster.status()["journal"]
        filler.unlink()
        wait_until(lambda: _opens(cluster), 20)
        assert cluster.status()["journal"] == ""
        assert cluster.dict(name="kept")["before"] == 1


def _opens(cluster: mpclient.Cluster) -> bool:
    try:
        cluster.dict(name="kept")
    except mpclient.NoRoom:
        return False
    return True


def test_a_server_whose_disk_has_no_room_at_all_does_not_call_its_journal_damaged(durable, small_disk):
    server = durable(folder=small_disk / "data")
    server.stop()
    (small_disk / "data" / "ballast").unlink()
    with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    done = run_mpserve("start", "--port", "0", "--data", str(small_disk / "data"))
    assert done.returncode == 8
    assert "full" in done.stderr or "make room" in done.stderr
    assert "damaged" not in done.stderr


@pytest.mark.parametrize("there", [False, True], ids=["new", "empty"])
def test_an_import_that_the_disk_has_no_room_for_leaves_nothing(durable, small_disk, tmp_path, there):
    server = durable()
    with connect(server) as cluster:
        cluster.dict(dict.fromkeys(range(30), bytes(1 << 20)), name="d")
    server.stop()
    file, folder = tmp_path / "export.jsonl", small_disk / "data"
    if there:
        folder.mkdir()
    assert run_mpserve("export", str(tmp_path / "data"), str(file)).returncode == 0
    done = run_mpserve("import", str(file), str(folder))
    assert (done.returncode, done.stderr) == (8, f"mpserve: {folder}: database or disk is full\n")
    assert [*small_disk.rglob("*")] == ([folder] if there else [])
    done = run_mpserve("export", str(tmp_path / "data"), str(small_disk / "export"))
    assert (done.returncode, done.stderr) == (1, f"mpserve: {small_disk}/export: No space left on device\n")
    assert not (small_disk / "export").exists()


def test_check_names_what_is_damaged(durable, tmp_path):
    server = durable()
    with connect(server) as cluster:
        cluster.dict({"a": 1}, name="d")
    server.stop()
    folder = tmp_path / "data"
    file = sqlite3.connect(folder / "journal-000001.db", isolation_level=None)
    file.execute("UPDATE rows SET checksum = 0 WHERE seq = 2")
    file.close()
    for word in ("check", "export"):
        done = run_mpserve(word, str(folder))
        assert done.returncode == 8
        assert done.stderr.startswith(
            "mpserve: journal-000001.db is damaged after that: its checksum is wrong"
        )
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("check", "{}/none"), 8, "holds no data of a server"),
        (("export", "{}/none"), 8, "holds no data of a server"),
        (("import", "{}/none", "{}/new"), 1, "none: No such file or directory"),
        (("import", "{}/file", "{}/new"), 8, "the export cannot be used: line 1 is no JSON"),
        (("import", "{}/bytes", "{}/new"), 8, "the export cannot be used: it is no text in UTF-8"),
        (("import", "{}/half", "{}/new"), 8, "the export cannot be used: it is incomplete"),
        (("import", "{}/file", "{}"), 2, "is not empty"),
    ],
)
def test_what_cannot_be_used_is_one_line(words, code, said, tmp_path):
    (tmp_path / "file").write_text("no export")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "half").write_text('{"mpserve": "export", "format": 1, "server": "s", "epoch": "e"}\n')
    done = run_mpserve(*(word.format(tmp_path) for word in words))
    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_who_stops_reading_an_export_is_told_nothing(durable, tmp_path):
    durable().stop()
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "mpserve", "export", str(tmp_path / "data")]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_folder_in_use_is_not_read(durable, tmp_path):
    durable()
    done = run_mpserve("check", str(tmp_path / "data"))
    assert done.returncode == 8
    assert "in use by another server" in done.stderr
