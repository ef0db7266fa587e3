"""Processes and the program that started them: what they say comes home, and they end with it."""

from __future__ import annotations

import signal
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration import workers
from tests.integration.conftest import Server
from tests.integration.processes import TARGETS, gone

from mpclient import testing

mpworker = workers.mpworker
pytestmark = [
    pytest.mark.hosts,
    pytest.mark.chaos,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc"),
]


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Iterator[Any]:
    """A server with one worker host, for all tests that need no other."""
    folder = tmp_path_factory.mktemp("own")
    server = Server(folder / "server", ("--grace", "60s")).start()
    try:
        with workers.starting_in(folder) as start:
            start(server).ready()
            yield server
    finally:
        server.stop()


@pytest.fixture
def run(own, program) -> Callable[..., Any]:
    """Run a program that has `cluster`, `Process`, and the functions that its Processes run."""

    def run(source: str, *args: str) -> Any:
        return program(TARGETS + textwrap.dedent(source), *args, environment=own.environment)

    return run


@pytest.fixture
def elsewhere(fresh_server, mpworker, program) -> Callable[..., Any]:
    """Run such a program whose Processes are in another folder."""
    server = fresh_server("--grace", "60s")
    mpworker(server, "--chdir", "/").ready()
    return lambda source: program(TARGETS + textwrap.dedent(source), environment=server.environment)


class TestOutput:
    def test_lines_come_home_whole_and_before_the_join(self, run):
        program = run("""
            def chatter(number):
                for line in range(200):
                    print(number, "line", line)
                    print(number, "error", line, file=sys.stderr)
                print(number, "last", end="")
            processes = [Process(target=chatter, args=(n,)) for n in range(4)]
            for p in processes: p.start()
            for n, p in enumerate(processes):
                p.join()
                print("joined", n)
            """)
        out, err = program.process.communicate(timeout=60)
        assert program.process.returncode == 0, err
        assert sorted(err.splitlines()) == sorted(f"{n} error {i}" for n in range(4) for i in range(200))
        for number in range(4):
            said = out[: out.index(f"joined {number}")]
            lines = [line for line in said.splitlines() if line.startswith(f"{number} line")]
            assert lines == [f"{number} line {i}" for i in range(200)]
            assert f"{number} last" in said

    def test_a_traceback_is_told_where_the_program_is(self, run):
        program = run("""
            def fail():
                print("to stdout"); sys.stderr.write("to stderr\\n")
                raise ValueError("some text")
            p = Process(target=fail, name="failing")
            p.start(); p.join()
            print(p.exitcode)
            """)
        out, err = program.process.communicate(timeout=30)
        assert out.splitlines() == ["to stdout", "1"]
        lines = err.splitlines()
        assert lines[:3] == ["to stderr", "Process failing:", "Traceback (most recent call last):"]
        assert lines[-1] == "ValueError: some text"
        assert "in fail" in err

    def test_what_cannot_be_opened_is_a_traceback_too(self, elsewhere, tmp_path):
        (tmp_path / "only_here.py").write_text("def f(): pass")
        program = elsewhere("""
            import only_here
            p = Process(target=only_here.f)
            p.start(); p.join(); print(p.exitcode)
            """)
        out, err = program.process.communicate(timeout=30)
        assert out.split() == ["1"]
        assert err.splitlines()[0] == "Process Process-1:"
        assert "No module named 'only_here'" in err

    def test_what_is_shipped_can_be_opened(self, elsewhere, tmp_path):
        (tmp_path / "only_here.py").write_text("def f(q): q.put((__name__, __file__))")
        program = elsewhere("""
            import only_here
            cluster.ship(only_here)
            q = cluster.Queue()
            def nest(): p = Process(target=only_here.f, args=(q,)); p.start(); p.join()
            for target, args in ((only_here.f, (q,)), (nest, ())):
                p = Process(target=target, args=args); p.start(); p.join()
                print(p.exitcode, q.get(timeout=5) == ("only_here", only_here.__file__))
            """)
        assert program.finish().splitlines() == ["0 True"] * 2

    def test_a_module_that_processes_need_cannot_be_shipped(self, run, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere/msgpack.py").write_text("")
        program = run("""
            cluster.ship(sys.argv[1])
            p = Process(target=print); p.start(); p.join(); print(p.exitcode)
            """, str(tmp_path / "elsewhere/msgpack.py"))  # fmt: skip
        out, err = program.process.communicate(timeout=30)
        assert out.split() == ["1"]
        assert "the module msgpack was shipped, and Processes have one" in err

    def test_standard_streams_as_arguments(self, run):
        program = run("""
            def write(out, err): print("out", file=out); print("err", file=err)
            p = Process(target=write, args=(sys.stdout, sys.stderr)); p.start(); p.join()
            """)
        assert program.process.communicate(timeout=30) == ("out\n", "err\n")

    def test_the_log_of_multiprocessing(self, run):
        program = run("""
            import logging
            mpclient.log_to_stderr(logging.INFO)
            p = Process(target=print, name="logs"); p.start(); p.join()
            """)
        out, err = program.process.communicate(timeout=30)
        assert out == "\n"
        assert "[INFO/logs] child process calling self.run()" in err.splitlines()

    def test_nested_output_goes_through_all_parents(self, run):
        program = run("""
            def nest(depth):
                print("depth", depth)
                if depth:
                    p = Process(target=nest, args=(depth - 1,)); p.start(); p.join()
                print("back", depth)
            p = Process(target=nest, args=(2,)); p.start(); p.join()
            """)
        said = "depth 2, depth 1, depth 0, back 0, back 1, back 2"
        assert program.finish().splitlines() == said.split(", ")


class TestTheProgramsEnd:
    def test_it_waits_for_its_processes_and_terminates_daemons(self, run):
        program = run("""
            ready = cluster.Event()
            def last(): ready.set(); wait()
            def late(): ready.wait(); print("done")
            daemon = Process(target=last, daemon=True)
            daemon.start(); Process(target=late).start()
            say(daemon.pid)
            """)
        daemon = int(program.line())
        assert "done" in program.finish().splitlines()
        gone(daemon)

    def test_ctrl_c_interrupts_its_processes(self, run):
        program = run("Process(target=wait, args=('child',)).start()\nsay(hear())\n")
        child = int(program.line().split()[1])
        program.process.send_signal(signal.SIGINT)
        _, err = program.process.communicate(timeout=20)
        assert err.count("KeyboardInterrupt") == 2
        assert "Process Process-1:" in err
        gone(child)

    def test_a_program_that_was_given_up_has_none_any_more(self, fresh_server, mpworker, program):
        server = fresh_server("--session-timeout", "1s")
        mpworker(server).ready()
        started = program(
            TARGETS
            + textwrap.dedent("""
            p = Process(target=wait, args=("child",)); p.start()
            say(hear())
            try: p.join()
            except mpclient.SessionExpired: p.join()
            say(p.exitcode)
            """),
            environment=server.environment,
        )
        child = int(started.line().split()[1])
        started.process.send_signal(signal.SIGSTOP)
        gone(child)
        started.process.send_signal(signal.SIGCONT)
        started.say()
        out, err = started.process.communicate(timeout=20)
        assert out.split() == ["go", "-9"]
        assert f"(pid {child}) is lost: the server had given this program up" in err

    @pytest.mark.parametrize("target", ["wait", "stubborn"])
    def test_a_killed_program_leaves_none_behind(self, run, fresh_server, mpworker, program, target):
        server = fresh_server()
        mpworker(server).ready()
        started = program(
            f"{TARGETS}Process(target={target}).start()\nhear()", environment=server.environment
        )
        pid = int(started.line().split()[-1])
        started.kill()
        gone(pid)
        with server.connect() as cluster:
            testing.wait_until(lambda: not cluster.status()["objects"][2:])

    def test_a_child_hears_that_its_parent_is_gone(self, fresh_server, mpworker, program, tmp_path):
        server = fresh_server()
        mpworker(server).ready()
        started = program(
            TARGETS
            + textwrap.dedent(f"""
            def watch():
                import mpclient
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                parent = mpclient.parent_process()
                print(parent.is_alive(), flush=True)
                parent.join()
                open({str(tmp_path / "told")!r}, "w").write(str(parent.is_alive()))
            Process(target=watch).start()
            hear()
            """),
            environment=server.environment,
        )
        assert started.line() == "True"
        started.kill()
        testing.wait_until(lambda: (tmp_path / "told").exists() and (tmp_path / "told").read_text() != "")
        assert (tmp_path / "told").read_text() == "False"
