"""The folder of `mpserve start --data`: in use, damaged, full, gone; checked, exported, imported."""

from __future__ import annotations

import ctypes
import os
import shutil
import sqlite3
import subprocess
from contextlib import suppress

import pytest
from tests import prepared
from tests.integration import durable as keeping
from tests.integration import workers
from tests.integration.durable import connect, restart

import mpclient
from mpclient.testing import wait_until

pytestmark = [pytest.mark.hosts, pytest.mark.chaos]
mpworker = workers.mpworker
durable = keeping.durable


# -- the folder -----------------------------------------------------------------------------------


def run_mpserve(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MPSERVE_")}
    return prepared.run("mpserve", *words, env={**kept, "MPSERVE_AUTHKEY": "k" * 32, **environment})


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
        with connect(server) as late:
            assert late.dict(name="kept")["before"] == 1
            with pytest.raises(mpclient.NoRoom):
                late.dict(name="new")
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
        with pytest.raises(mpclient.NoRoom, match="was removed or replaced.*see to the folder of --data"):
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
            cluster.dict(name="new")
        assert cluster.dict(name="kept")["before"] == 1
        assert "less than 16M" in cluster.status()["journal"]
        filler.unlink()
        wait_until(lambda: _accepts(cluster.dict(name="kept")), 20)
        assert cluster.status()["journal"] == ""


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


def test_an_import_that_the_disk_has_no_room_for_leaves_nothing(durable, small_disk, tmp_path):
    server = durable()
    with connect(server) as cluster:
        cluster.dict(dict.fromkeys(range(30), bytes(1 << 20)), name="d")
    server.stop()
    file, folder = tmp_path / "export.jsonl", small_disk / "data"
    assert run_mpserve("export", str(tmp_path / "data"), str(file)).returncode == 0
    for there in ([], [folder]):
        for empty in there:
            empty.mkdir()
        done = run_mpserve("import", str(file), str(folder))
        said = f"mpserve: {folder} cannot be used (database or disk is full); make room there\n"
        assert (done.returncode, done.stderr) == (8, said)
        assert [*small_disk.rglob("*")] == there
    done = run_mpserve("export", str(tmp_path / "data"), str(small_disk / "export"))
    said = f"mpserve: {small_disk}/export cannot be used (No space left on device); make room there\n"
    assert (done.returncode, done.stderr) == (1, said)
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
        (("import", "{}/none", "{}/new"), 1, "none cannot be used (No such file or directory); name"),
        (("import", "{}", "{}/new"), 1, "cannot be used (Is a directory); name another one"),
        (("import", "{}/file", "{}/bytes"), 2, "bytes is not an empty folder"),
        (("import", "{}/file", "{}/new"), 8, "the export cannot be used: line 1 is no JSON"),
        (("import", "{}/bytes", "{}/new"), 8, "the export cannot be used: it is no text in UTF-8"),
        (("import", "{}/half", "{}/new"), 8, "the export cannot be used: it is incomplete"),
        (("import", "{}/file", "{}"), 2, "is not an empty folder"),
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
    done = prepared.run("mpserve", "export", tmp_path / "data", stdout=writing, typed=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_folder_in_use_is_not_read(durable, tmp_path):
    durable()
    done = run_mpserve("check", str(tmp_path / "data"))
    assert done.returncode == 8
    assert "in use by another server" in done.stderr
