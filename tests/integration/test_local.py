"""The embedded cluster: there when no address is given, gone when the program is."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import zipapp
from functools import partial
from pathlib import Path

import pytest

import mpclient
from mpclient import testing
from mpclient.local import LocalCluster, worker_wait_s
from mpclient.testing import wait_until

LOCAL = """\
import os, sys
from mpclient import testing
from mpclient.local import LocalCluster
def say(*words): print(*words, flush=True)
def hear(): return sys.stdin.readline().strip()
local = LocalCluster(processes=0)
local.start()
say(local._server.pid, local._folder)
"""


def is_alive(pid: int) -> bool:
    """Tell whether a process runs: one that ended and waits to be noticed by its parent does not."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")


def test_starts_works_and_leaves_nothing(typed):
    with testing.running_cluster() as cluster:
        local = cluster._owns
        folder, pid = local._folder, local._server.pid
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert os.getpgid(pid) != os.getpgid(0)
        q = cluster.Queue()
        q.put(1)
        assert q.get() == 1
    assert not is_alive(pid)
    assert not folder.exists()


def test_two_at_once_are_apart(unique):
    with testing.running_cluster() as one, testing.running_cluster() as other:
        one.dict(a=1, name=unique)
        assert other.dict(name=unique).copy() == {}


def test_places_that_nothing_is_imported_from_are_no_workers_either(monkeypatch):
    """Imports pass over what is no text in `sys.path`: paths that somebody has put there as they were."""
    monkeypatch.setattr(sys, "path", [Path("/no/such/folder"), b"/tmp", "/no/such/folder", *sys.path])
    with testing.running_cluster(processes=1) as cluster, cluster.Pool(1) as pool:
        assert pool.apply(abs, (-1,)) == 1


def test_other_programs_find_it_by_the_environment(program):
    with testing.running_cluster() as cluster:
        shared = cluster.dict(name="shared")
        code = "import mpclient\nmpclient.connect().dict(name='shared')['from'] = 'there'\n"
        run = program(code, connected=False, environment=testing.environment(cluster))
        run.finish()
        assert shared.copy() == {"from": "there"}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_ends_with_the_program_however_it_ends(program, how, typed):
    run = program(LOCAL + "hear()\n", connected=False)
    pid = int(run.line().split()[0])
    assert is_alive(pid)
    run.process.send_signal(how)
    run.process.wait(10)
    wait_until(lambda: not is_alive(pid))


def test_a_program_that_ends_well_removes_the_folder(program):
    run = program(LOCAL, connected=False)
    pid, folder = run.line().split()
    run.finish()
    assert not is_alive(int(pid))
    assert not Path(folder).exists()


def test_what_a_killed_program_leaves_the_next_one_removes(program):
    run = program(LOCAL + "hear()\n", connected=False)
    folder = Path(run.line().split()[1])
    run.kill()
    assert folder.exists()
    with testing.running_cluster():
        assert not folder.exists()


def test_a_forked_child_does_not_keep_it_alive(program, typed):
    run = program(
        LOCAL + "if os.fork() == 0: hear(); os._exit(0)\nsay('forked'); os.kill(os.getpid(), 9)\n",
        connected=False,
    )
    pid = int(run.line().split()[0])
    assert run.line() == "forked"
    wait_until(lambda: not is_alive(pid))


def test_a_forked_child_does_not_stop_it(program):
    run = program(
        LOCAL
        + "import atexit\n"
        + "if os.fork() == 0:\n"
        + "    local.stop(); sys.exit(0)\n"
        + "os.wait()\n"
        + "say('child ended')\n"
        + "hear()\n",
        connected=False,
    )
    pid = int(run.line().split()[0])
    assert run.line() == "child ended"
    assert is_alive(pid)
    run.say()
    run.finish()


def test_a_server_that_does_not_come_up_is_told_with_its_last_lines():
    local = LocalCluster(processes=0, options=("--no-such-option",))
    with pytest.raises(mpclient.ServerGone, match=r"exit code 2; its last lines:(.|\n)*no-such-option"):
        local.start()
    local.stop()


def test_settings_meant_for_another_server_are_not_for_this_one(monkeypatch):
    monkeypatch.setenv("MPSERVE_HOST", "0.0.0.0")
    monkeypatch.setenv("MPSERVE_AUTHKEY", "for somebody else, and long enough")
    monkeypatch.setenv("MPSERVE_ADDRESS", "nowhere:1")
    with testing.running_cluster() as cluster:
        assert cluster.address.startswith("unix:")
        cluster.Lock()


def test_where_the_folder_is_too_deep_for_a_socket(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with testing.running_cluster() as cluster:
        assert cluster.address.startswith("127.0.0.1:")
        cluster.Lock()


@pytest.mark.hosts
def test_workers_serve_and_come_back_after_pills():
    with testing.running_cluster(processes=2) as cluster:
        assert cluster.cpu_count() == 2
        tasks, results = cluster.JoinableQueue(name="tasks"), cluster.Queue(name="results")

        def square(x):
            return x * x

        tasks.put_many([partial(square, n) for n in range(20)] + [None, None])
        tasks.join()
        assert sorted(results.get(timeout=20) for _ in range(20)) == [n * n for n in range(20)]
        tasks.put(partial(square, 7))
        assert results.get(timeout=20) == 49


def test_no_worker_is_told_with_what_to_type(monkeypatch):
    monkeypatch.setenv("MPSERVE_WORKER_WAIT", "50ms")
    with testing.running_cluster() as cluster, pytest.raises(mpclient.NoWorkers, match="mpworker --connect"):
        cluster.cpu_count()


@pytest.mark.hosts
def test_workers_of_its_own_may_take_a_minute_to_start(monkeypatch):
    """A machine under load has taken that long; that none will ever come is not likely."""
    monkeypatch.delenv("MPSERVE_WORKER_WAIT", raising=False)
    with testing.running_cluster(processes=1) as cluster:
        assert worker_wait_s(cluster.session) == 60
        monkeypatch.setenv("MPSERVE_WORKER_WAIT", "2s")
        assert worker_wait_s(cluster.session) == 2
    monkeypatch.delenv("MPSERVE_WORKER_WAIT")
    with testing.running_cluster() as cluster:
        assert worker_wait_s(cluster.session) == 10


POOL = """\
import multiprocessing, os, sys
import mpclient
def work(pair):
    shared, key = pair
    return shared.incr(key, 1)
if __name__ == "__main__":
    os.environ.pop("MPSERVE_ADDRESS")
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool, mpclient.connect() as cluster:
        shared = cluster.dict()
        print(pool.map(work, [(shared, "n"), (shared, "n")]))
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_objects_open_in_a_pool_of_the_standard_library_that_was_there_before(program, method):
    assert program(POOL, method, connected=False).finish(60) == "[1, 2]"


NO_WORKER = """\
import mpclient
from mpclient import testing
with testing.running_cluster(processes=0) as cluster:
    tasks = cluster.JoinableQueue(name="tasks")
    tasks.put(len)
    assert tasks.join(timeout=3.2) is False
    assert tasks.join(timeout=3.2) is False
"""


def the_line_said_by(run):
    """Return the one line that a program that ended well wrote to its standard error."""
    _, err = run.process.communicate(timeout=60)
    assert run.process.returncode == 0, err
    (line,) = err.splitlines()
    return line


def test_waiting_for_jobs_without_a_worker_is_told_once_with_what_to_type(program):
    line = the_line_said_by(program(NO_WORKER, connected=False))
    assert "a job waits in queue 'tasks'" in line
    assert "mpworker --connect unix:/" in line


OWN_WORKERS = """\
import os, signal
from mpclient import testing
from mpclient.local import has_own_workers
from mpclient.output.no_worker import say_no_worker
with testing.running_cluster(processes=1) as cluster:
    assert has_own_workers(cluster.session)
    say_no_worker(cluster.session, "something waits")
with testing.running_cluster(processes=0) as cluster:
    assert not has_own_workers(cluster.session)
    say_no_worker(cluster.session, "something else waits")
"""


def test_nobody_is_told_to_start_what_is_started_anyway(program):
    line = the_line_said_by(program(OWN_WORKERS, connected=False))
    assert "so something else waits; start one: mpworker --connect unix:/" in line


IMPORTS = """\
import sys
from pathlib import Path
sys.path.append(str(Path(__file__).parent / "lib"))
import mpclient as multiprocessing
import beside, library
if __name__ == "__main__":
    with multiprocessing.Pool(1) as pool:
        print(pool.map(beside.half, [4]), pool.map(library.double, [4]))
    process = multiprocessing.Process(target=library.double, args=(1,))
    process.start()
    process.join()
    print(process.exitcode)
"""


def files_of_an_app(folder: Path) -> Path:
    """Make a program of several files; return where it begins."""
    (folder / "lib").mkdir(parents=True)
    (folder / "beside.py").write_text("def half(n):\n    return n / 2\n")
    (folder / "lib" / "library.py").write_text("def double(n):\n    return 2 * n\n")
    begin = folder / "__main__.py"
    begin.write_text(IMPORTS)
    return begin


@pytest.mark.parametrize("what", ["file", "zip"])
def test_workers_import_what_the_program_can(tmp_path, what):
    """Its neighbours, wherever it is started from, and what it put on `sys.path`."""
    app, elsewhere = files_of_an_app(tmp_path / "app"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    if what == "zip":
        zipapp.create_archive(app.parent, app := tmp_path / "app.pyz")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MPSERVE_")}
    done = subprocess.run(
        [sys.executable, str(app)], env=environment, cwd=elsewhere, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[2.0] [8]\n0\n", "")
