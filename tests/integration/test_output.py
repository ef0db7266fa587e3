"""What processes print for programs comes home: in order, whole, once, and never after what depends on it."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
from functools import partial

import pytest
from tests.integration import workers

import mpclient
from mpclient.testing import wait_until
from mpshared.errors import WorkerDied

mpworker = workers.mpworker
hosts = pytest.mark.hosts

# A process that prints for `program`, as workers do: `out` leads there.
WORKER = """
from mpclient.worker import streams
program, done = hear(), cluster.Queue(name=hear())
streams.install(cluster.session).route(program)
"""


@pytest.fixture
def worker(program, cluster, unique):
    """Start a process that prints for a program (`cluster`'s) what the given source says."""

    def start(source, session=None):
        process = program(WORKER + source)
        process.say(session or cluster.session.id)
        process.say(unique)
        return process

    return start


@pytest.fixture
def done(cluster, unique):
    return cluster.Queue(name=unique)


def test_no_answer_overtakes_a_print(worker, done, capsys):
    worker('for n in range(200):\n    print("line", n)\n    done.put(n)\n')
    printed = ""
    for n in range(200):
        assert done.get(timeout=10) == n
        printed += capsys.readouterr().out
        assert f"line {n}\n" in printed
    assert printed == "".join(f"line {n}\n" for n in range(200))


LINES = """
for n in range(2000):
    if n % 200 == 0:
        go.get(timeout=20)
    print("line", n, "." * 100)
done.put(0)
"""
"""Prints a part, of over 20 KB, each time it is told to."""


def cut_and_print(relay, direction, go):
    """Have each part printed, and the connections cut in the middle of it."""
    for after_bytes in range(0, 20_000, 2000):
        cuts = relay.cuts
        relay.arm(direction, 7 + after_bytes)
        go.put(1)
        wait_until(lambda cuts=cuts: relay.cuts > cuts)


def test_a_program_that_reconnects_prints_each_line_once(worker, relay, server, cluster, unique, capsys):
    with mpclient.connect(relay.address, server.key, reconnect_timeout=10) as program:
        done = program.Queue(name=unique)
        process = worker(f'go = cluster.Queue(name="go {unique}")\n{LINES}', program.session.id)
        cut_and_print(relay, "down", cluster.Queue(name=f"go {unique}"))
        assert done.get(timeout=20) == 0
        process.finish()
    assert relay.cuts == 10
    assert capsys.readouterr().out == "".join(f"line {n} {'.' * 100}\n" for n in range(2000))


def test_a_worker_that_reconnects_sends_each_line_once(program, relay, cluster, done, unique, capsys):
    source = f'{WORKER}go = cluster.Queue(name="go {unique}")\n{LINES}'
    process = program(source, environment={"MPSERVE_ADDRESS": relay.address})
    process.say(cluster.session.id)
    process.say(unique)
    cut_and_print(relay, "up", cluster.Queue(name=f"go {unique}"))
    assert done.get(timeout=20) == 0
    process.finish()
    assert relay.cuts == 10
    assert capsys.readouterr().out == "".join(f"line {n} {'.' * 100}\n" for n in range(2000))


def test_a_program_that_does_not_read_holds_up_its_own_workers_only(program, cluster, unique):
    """Its standard output is a pipe that nobody empties until the end."""
    reader = program("say(cluster.session.id)\ncluster.Queue(name=hear()).get(timeout=60)\n")
    session = reader.line()
    reader.say(f"{unique} done")
    printer = program(WORKER + 'for n in range(60_000):\n    print("line", n, "." * 90)\ndone.put(0)\n')
    printer.say(session)
    printer.say(f"{unique} done")
    other = program(WORKER + 'print("quick")\ndone.put(1)\n')
    other.say(cluster.session.id)
    other.say(f"{unique} other")
    assert cluster.Queue(name=f"{unique} other").get(timeout=20) == 1
    assert cluster.Queue(name=f"{unique} done").empty()
    lines = reader.finish(60).splitlines()
    assert [line.split()[1] for line in lines] == [str(n) for n in range(60_000)]


# -- jobs of pools --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def host(server, tmp_path_factory):
    """A worker host with two processes, for all tests that only need one."""
    with workers.starting_in(tmp_path_factory.mktemp("host")) as start:
        yield start(server, queue="of test_output", processes=2).ready()


@pytest.fixture
def pool(host, cluster):
    """Make pools on that host."""
    pools = []

    def make(*args, **how):
        pools.append(cluster.Pool(*args, **how))
        return pools[-1]

    yield make
    for one in pools:
        one.terminate()
        one.join()


@hosts
def test_jobs_print_at_home_before_they_return(pool, capsys):
    def speak(n):
        print("job", n)
        print("trouble", n, file=sys.stderr)
        return n

    pool = pool()
    for n in range(20):
        assert pool.apply(speak, (n,)) == n
        assert capsys.readouterr() == (f"job {n}\n", f"trouble {n}\n")


@hosts
def test_lines_of_many_jobs_do_not_mix(pool, capsys):
    def lines(n):
        for k in range(50):
            print("job", n, "line", k, "." * (k * 37))

    pool().map(lines, range(20), chunksize=1)
    found = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert all(line[0] == "job" and line[2] == "line" and len(line) <= 5 for line in found)
    for n in range(20):
        assert [int(line[3]) for line in found if int(line[1]) == n] == list(range(50))


@hosts
def test_whatever_way_a_job_prints(pool, capsys):
    def job(stream):
        stream.write("argument\n")
        sys.__stdout__.write("original\n")
        os.write(1, b"not through Python\n")
        sys.stdout.buffer.write("bytes \N{SNOWMAN}\n".encode())
        logging.getLogger("job").warning("careful")
        thread = threading.Thread(target=print, args=("thread",))
        thread.start()
        thread.join()
        sys.stdout.write("no end")

    pool().apply(job, (sys.stdout,))
    out, err = capsys.readouterr()
    assert out == "argument\noriginal\nnot through Python\nbytes \N{SNOWMAN}\nthread\nno end"
    assert err == "careful\n"


def wait_for_text(read, text):
    """Wait until what `read` returns, call by call, is this text together."""
    said = []

    def there():
        said.append(read())
        return "".join(said) == text

    wait_until(there)


@hosts
def test_what_is_written_past_the_streams_comes_home_in_its_place(pool, capsys):
    def job(n):
        print("one")
        os.write(1, b"two\n")
        subprocess.run(["/bin/sh", "-c", "echo three; echo trouble >&2"], check=True)
        if not (pid := os.fork()):
            print("four")
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(pid, 0)
        print("five", file=os.fdopen(os.dup(sys.stdout.fileno()), "w"), flush=True)
        os.write(1, b"six\n")
        return n

    pool = pool()
    for n in range(20):
        assert pool.apply(job, (n,)) == n
        assert capsys.readouterr() == ("one\ntwo\nthree\nfour\nfive\nsix\n", "trouble\n")


@hosts
def test_a_call_takes_what_was_written_before_it_along(pool, cluster, unique, capsys):
    def job(queue):
        for n in range(100):
            os.write(1, b"line %d\n" % n)
            queue.put(n)

    queue = cluster.Queue(name=f"{unique} said")
    going = pool(1).apply_async(job, (queue,))
    printed = ""
    for n in range(100):
        assert queue.get(timeout=10) == n
        printed += capsys.readouterr().out
        assert f"line {n}\n" in printed
    going.get(10)


@hosts
def test_a_piece_without_a_line_end_comes_though_the_job_goes_on(pool, cluster, unique, capsys):
    def job(gate):
        os.write(2, b"10 % ")
        gate.get(timeout=20)

    gate = cluster.Queue(name=f"{unique} gate")
    going = pool(1).apply_async(job, (gate,))
    wait_for_text(lambda: capsys.readouterr().err, "10 % ")
    gate.put(1)
    going.get(10)


@hosts
def test_c_code_that_keeps_the_interpreter_is_not_stuck(pool, capsys):
    """It writes more than a pipe holds, while no thread of its process can read that."""

    def job():
        line = b"." * 99 + b"\n"
        return ctypes.PyDLL(None).write(1, line * 3000, 300_000)

    assert pool(1).apply(job) == 300_000
    wait_for_text(lambda: "." * capsys.readouterr().out.count("."), "." * 297_000)


@hosts
def test_the_last_words_of_a_job_that_dies_come_home_and_are_in_the_report(pool, capsys):
    def job():
        print("printed")
        os.write(1, b"said\n")
        os.write(2, b"last words")
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WorkerDied) as caught:
        pool(1).apply(job)
    assert {"printed", "said", "last words"} <= set(caught.value.fields["output"])
    assert capsys.readouterr() == ("printed\nsaid\n" * 3, "last words" * 3)


@hosts
def test_recipe_jobs_write_to_the_log_and_pools_home(mpworker, server, cluster, unique, capsys):
    host = mpworker(server, queue=unique, processes=1).ready()
    tasks, pool = cluster.JoinableQueue(name=unique), cluster.Pool(1)
    for n in range(10):
        tasks.put(partial(os.write, 1, b"recipe %d\n" % n))
        tasks.join()
        pool.apply(os.write, (1, b"pool %d\n" % n))
        assert capsys.readouterr().out == f"pool {n}\n"
    pool.terminate()
    pool.join()
    lines = [event["line"] for event in host.wait_for("worker.output", 10)]
    assert lines == [f"recipe {n}" for n in range(10)]


PIECES = """
os.dup2(1, 2)
def job(n):
    print("out", n, end=" ")
    print("err", n, end=" ", file=sys.stderr)
def line(n):
    print("line", n)
    print("line", n, file=sys.stderr)
pool = cluster.Pool(2)
for n in range(10):
    pool.map(job, [n, n], chunksize=1)
    pool.map(line, [n, n], chunksize=1)
pool.terminate()
"""


@hosts
def test_no_line_is_empty_that_nobody_printed(host, program):
    """Pieces without a line end on both streams, which lead to the same file."""
    assert "" not in program(PIECES).finish().splitlines()


@hosts
def test_what_an_initializer_prints_comes_home_too(pool, capsys):
    pool = pool(1, initializer=print, initargs=("begun",))
    pool.apply(print, ("job",))
    assert capsys.readouterr().out == "begun\njob\n"


@hosts
def test_a_job_that_forks_prints_nothing_twice(pool, capsys):
    def job():
        print("before")
        print("piece", end="")
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
        print(" and rest")

    pool().apply(job)
    assert capsys.readouterr().out == "before\npiece and rest\n"


@hosts
def test_failing_jobs_print_first(pool, capsys):
    def job():
        print("soon", end="")
        raise KeyError("late")

    with pytest.raises(KeyError):
        pool().apply(job)
    assert capsys.readouterr().out == "soon"


@hosts
def test_pools_in_jobs_print_at_the_submitter(pool, capsys):
    def outer():
        with mpclient.connect() as inner, inner.Pool(1) as nested:
            nested.apply(print, ("inner",))
        print("outer")

    pool().apply(outer)
    assert capsys.readouterr().out == "inner\nouter\n"
