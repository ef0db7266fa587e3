"""Pools in whole programs: Ctrl-C, forks, no workers, jobs that have pools of their own, the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from tests.integration import workers
from tests.integration.conftest import Server
from tests.integration.relay import Relay

import mpclient
from mpclient import testing

mpworker = workers.mpworker
pytestmark = pytest.mark.hosts


def pools(cluster):
    """Return the pools of programs; one with a name is that of jobs which outlive them."""
    return [o for o in cluster.status()["objects"] if o["kind"] == "pool" and not o["name"]]


INTERRUPTED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
def work(path):
    import os, time
    open(path, "w").close()
    while not os.path.exists(path + ".go"):
        time.sleep(0.01)
pool = cluster.Pool()
say("ready")
try:
    CALL
except KeyboardInterrupt:
    say("interrupted")
hear()
say("over", pool.apply(abs, (-5,)))
"""


@pytest.mark.parametrize(
    "call",
    [
        "pool.map(work, [sys.argv[1]] * 100, 1)",
        "for _ in pool.imap(work, [sys.argv[1]] * 100): pass",
        "for _ in pool.imap_unordered(work, [sys.argv[1]] * 100): pass",
        "[pool.apply(work, (sys.argv[1],)) for _ in range(5)]",
        "pool.starmap(work, [(sys.argv[1],)] * 100, 1)",
    ],
)
def test_ctrl_c_cancels_what_has_not_begun(program, mpworker, server, unique, cluster, call, tmp_path):
    mpworker(server, queue=unique).ready()
    path = tmp_path / "begun"
    running = program(INTERRUPTED.replace("CALL", call), str(path))
    assert running.line() == "ready"
    testing.wait_until(path.exists)
    running.process.send_signal(signal.SIGINT)
    assert running.line() == "interrupted"
    # The one that runs is left; and one that was fetched along with it, where the machine is so busy that the
    # worker takes the server to be far away.
    testing.wait_until(lambda: all(p["unfinished"] <= 2 for p in pools(cluster)))
    (tmp_path / "begun.go").write_text("go")
    running.say()
    assert running.finish() == "over 5"


LEFT_ALONE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
def work(path):
    open(path, "w").close()
    while True:
        time.sleep(0.01)
with cluster.Pool() as pool:
    pool.map(work, [sys.argv[1]] * 100, 1)
"""


def test_ctrl_c_ends_a_program_promptly(program, mpworker, server, unique, cluster, tmp_path):
    mpworker(server, queue=unique).ready()
    running = program(LEFT_ALONE, str(tmp_path / "begun"))
    testing.wait_until((tmp_path / "begun").exists)
    running.process.send_signal(signal.SIGINT)
    _, err = running.process.communicate(timeout=10)
    assert err.strip().endswith("KeyboardInterrupt")
    testing.wait_until(lambda: not pools(cluster))


def test_a_forked_child_cannot_use_the_pool_and_the_parent_goes_on(program, mpworker, server, unique):
    mpworker(server, queue=unique).ready()
    running = program(
        """
import multiprocessing
def child(pool, pending, stream, future):
    for call in (lambda: pool.apply(abs, (-1,)), pending.get, lambda: next(stream), future.result):
        try:
            call()
        except RuntimeError as err:
            say(type(err).__name__, str(err).partition(";")[0])
    with cluster.Pool() as own:
        say(own.map(abs, [-4, 5]))
pool = cluster.Pool()
executor = cluster.executor()
pool.map(abs, range(10), 1)
pending = pool.apply_async(time.sleep, (0.5,))
stream = pool.imap(time.sleep, [0.5])
future = executor.submit(time.sleep, 0.5)
process = multiprocessing.get_context("fork").Process(target=child, args=(pool, pending, stream, future))
process.start()
process.join(20)
say(process.exitcode, pending.get(), next(stream), future.result(), pool.apply(abs, (-6,)))
pool.terminate()
"""
    )
    out = running.finish().splitlines()
    assert out[:4] == ["RuntimeError this pool belongs to the parent process"] * 4
    assert out[4:] == ["[4, 5]", "0 None None None 6"]


def test_in_a_forked_child_nobody_is_called_back_and_no_progress_is_shown(program, mpworker, server, unique):
    mpworker(server, queue=unique).ready()
    running = program(
        """
import multiprocessing
def child(pending):
    try:
        pending.get()
    except RuntimeError:
        say("not here")
pool = cluster.Pool()
pending = pool.map_async(time.sleep, [0.5], error_callback=lambda err: say("called back"), progress=True)
stream = pool.imap(time.sleep, [0.5], progress=True)
process = multiprocessing.get_context("fork").Process(target=child, args=(pending,))
process.start()
process.join(20)
say(process.exitcode, pending.get(), next(stream), next(stream, "end"))
pool.terminate()
"""
    )
    out, err = running.process.communicate(timeout=20)
    assert out.splitlines() == ["not here", "0 [None] None end"]
    assert [line.partition(",")[0] for line in err.splitlines()] == ["sleep: 1 of 1 done"] * 2


def test_without_workers_a_wait_says_what_to_start(program, mpworker, server, unique):
    running = program("say(cluster.Pool().apply(abs, (-3,)))")
    line = running.process.stderr.readline()
    assert line.startswith(f"mpclient: no worker is connected to {server.address}")
    assert line.strip().endswith(f"mpworker --connect {server.address}")
    mpworker(server, queue=unique)
    assert running.line() == "3"
    assert running.finish() == ""


NESTED = """
def inner(number):
    return number * 2
def outer(number):
    import mpclient
    with mpclient.connect().Pool() as pool:
        return sum(pool.map(inner, range(number), 1))
with cluster.Pool() as pool:
    try:
        say(pool.map(outer, [3, 4, 5], 1))
    except mpclient.NoWorkers as err:
        say("no workers", "--max-spawned" in str(err))
"""


def test_a_pool_in_a_job_of_a_pool_does_not_starve(program, mpworker, server, unique):
    mpworker(server, queue=unique).ready()
    assert program(NESTED).finish() == "[6, 12, 20]"


def test_where_no_process_may_be_lent_nested_work_is_an_error(program, mpworker, server, unique):
    mpworker(server, "--max-spawned", "0", queue=unique).ready()
    assert program(NESTED).finish() == "no workers True"


def test_what_is_submitted_when_a_program_has_ended_is_refused_in_the_usual_words(
    program, mpworker, server, unique
):
    mpworker(server, queue=unique).ready()
    running = program(
        """
import atexit
@atexit.register
def last():
    for call in (lambda: executor.submit(abs, -1), lambda: executor.map(abs, [-1])):
        try:
            call()
        except RuntimeError as err:
            say(err)
executor = cluster.executor()
say(executor.submit(abs, -5).result())
"""
    )
    assert running.finish().splitlines() == [
        "5",
        *["cannot schedule new futures after interpreter shutdown"] * 2,
    ]


def test_a_program_that_ends_waits_for_its_executors(program, mpworker, server, unique, tmp_path):
    mpworker(server, queue=unique).ready()
    out = tmp_path / "out"
    running = program(
        """
def write(path):
    time.sleep(0.3)
    open(path, "a").write("x")
executor = cluster.executor()
for _ in range(3):
    executor.submit(write, sys.argv[1])
""",
        str(out),
    )
    assert running.finish() == ""
    assert out.read_text() == "xxx"


def test_a_program_that_is_killed_takes_its_jobs_along(program, mpworker, server, unique, cluster, tmp_path):
    host = mpworker(server, queue=unique).ready()
    before = workers.processes_of(host.process.pid)
    path = tmp_path / "begun"
    running = program(INTERRUPTED.replace("CALL", "pool.map(work, [sys.argv[1]] * 3, 1)"), str(path))
    testing.wait_until(path.exists)
    running.kill()
    testing.wait_until(lambda: not pools(cluster))
    testing.wait_until(lambda: not any(map(workers.is_alive, before)))


# -- shipped sources -------------------------------------------------------------------------------

SHIPPED = """
import mpclient
sys.path.insert(0, sys.argv[1])
import only_here, only_here_too.deep
say(cluster.ship(only_here), cluster.ship("only_here_too"))
pool = cluster.Pool()
say(pool.map(only_here.answer, [1, 2]), pool.apply(only_here_too.deep.answer, (3,)))
hear()
with cluster.Pool() as other:
    say(other.apply(only_here.answer, (1,)))
say(cluster.ship(only_here), pool.apply(only_here.answer, (1,)))
license = os.path.dirname(os.__file__) + "/LICENSE.txt"
for wrong in ("sys", "not_imported", "/nowhere", license, sys.modules["__main__"]):
    try:
        cluster.ship(wrong)
    except (ValueError, ImportError, FileNotFoundError) as err:
        say(type(err).__name__)
pool.terminate()
"""


def test_modules_that_only_the_program_has_are_brought_along(program, mpworker, server, unique, tmp_path):
    mpworker(server, queue=unique).ready()
    folder = tmp_path / "modules"
    package = folder / "only_here_too"
    package.mkdir(parents=True)
    (folder / "only_here.py").write_text("def answer(n):\n    return 'first', n\n")
    (package / "__init__.py").write_text("BASE = 10\n")
    (package / "deep.py").write_text("from only_here_too import BASE\ndef answer(n):\n    return BASE + n\n")
    running = program(SHIPPED, str(folder))
    assert running.line() == "['only_here'] ['only_here_too', 'only_here_too.deep']"
    assert running.line() == "[('first', 1), ('first', 2)] 13"
    (folder / "only_here.py").write_text("def answer(n):\n    return 'second', n\n")
    running.say()
    refused = ["ValueError", "ModuleNotFoundError", "FileNotFoundError", "ValueError", "ValueError"]
    assert running.finish().splitlines() == ["('second', 1)", "['only_here'] ('second', 1)", *refused]


def test_progress_on_a_terminal_is_a_bar(server, mpworker, unique, tmp_path):
    mpworker(server, queue=unique).ready()
    ours, theirs = os.openpty()
    code = (
        "import mpclient\n"
        "with mpclient.connect() as cluster, cluster.Pool() as pool:\n"
        "    pool.map(abs, range(30), 3, progress=True)\n"
        "    list(pool.imap(abs, iter(range(5)), progress=True))\n"
    )
    environment = server.environment | {"TERM": "xterm", "COLUMNS": "100", "NO_COLOR": "1"}
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        done = subprocess.run([sys.executable, "-c", code], stderr=theirs, env=environment, timeout=20)
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(terminal), b"")).decode()
    assert done.returncode == 0
    assert "abs" in shown
    assert "30/30" in shown
    assert "5/5" in shown
    assert "/s, 0 failed" in shown


def _read(terminal):
    try:
        return terminal.read(4096)
    except OSError:  # Linux says the end of a terminal so
        return b""


def test_a_program_with_an_embedded_cluster(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(
        "import mpclient\n"
        "def cube(n):\n    return n ** 3\n"
        "with mpclient.connect() as cluster, cluster.Pool(2) as pool:\n    print(pool.map(cube, range(4)))\n"
        "print(mpclient.connect().executor().submit(cube, 3).result())\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MPSERVE_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert (done.stdout, done.stderr) == ("[0, 1, 8, 27]\n27\n", "")


def test_a_pool_goes_on_when_its_server_is_killed_and_comes_back(tmp_path, mpworker):
    server = Server(tmp_path / "server", ("--data", str(tmp_path / "data"))).start()
    try:
        mpworker(server).ready()
        with server.connect(reconnect_timeout=20.0) as cluster, cluster.Pool() as pool:
            results = pool.imap(abs, range(-20_000, 0), buffersize=500)
            begun = [next(results) for _ in range(100)]
            server.send_signal(signal.SIGKILL)
            server.wait()
            server.start(port=int(server.address.rpartition(":")[2]))
            assert begun + list(results) == list(range(20_000, 0, -1))
    finally:
        server.stop()


@pytest.mark.parametrize("direction", ["up", "down"])
def test_each_result_comes_once_however_often_the_connection_breaks(mpworker, server, unique, direction):
    mpworker(server, queue=unique, processes=2).ready()
    host, _, port = server.address.rpartition(":")
    relay = Relay((host, int(port)))
    try:
        with connected_by(relay, server) as cluster, cluster.Pool() as pool:
            results = pool.imap(abs, range(-6000, 0), buffersize=200)
            begun = []
            while len(begun) < 5000:
                if relay.cuts * 100 <= len(begun):  # the cut before has happened
                    relay.arm(direction, 200 + 97 * relay.cuts)
                begun.append(next(results))
            relay.disarm()
            assert begun + list(results) == list(range(6000, 0, -1))
            assert pool.map(abs, range(-100, 0), 1) == list(range(100, 0, -1))
        assert relay.cuts > 10
    finally:
        relay.close()


def connected_by(relay, server):
    return mpclient.connect(relay.address, server.key, reconnect_timeout=10)
