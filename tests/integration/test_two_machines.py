"""The readme on two machines, each with a network and a home folder of its own; and a cable that is cut."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mpclient.testing import wait_until

pytestmark = pytest.mark.hosts

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
PROGRAM = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[0]
LIMIT_S = 40.0


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


def steps(beginning: str) -> list[tuple[str, str]]:
    """Return machine and command of each line of the readme's block that begins so."""
    found = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    block = next(block for block in found if block.startswith(beginning))
    return [(line.partition("$ ")[0], line.partition("$ ")[2]) for line in block.splitlines()]


class Machine:
    """A network namespace at one end of a cable."""

    def __init__(self, name: str, space: str, folder: Path) -> None:
        self.name, self.space, self.home = name, space, folder / name
        self.home.mkdir()
        (self.home / "program.py").write_text(PROGRAM)
        self.started: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(self, line: str, **environment: str) -> Path:
        """Type a line; return the file with what it says, which goes on."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MPSERVE_", "XDG_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        told = self.home / f"told{len(self.started)}"
        with told.open("wb") as file:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.space, "sh", "-c", f"exec env {line}"],
                env=kept | {"HOME": str(self.home), "PATH": path} | environment,
                cwd=self.home,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append((process, told))
        return told

    def run(self, line: str, **environment: str) -> str:
        """Type a line and wait for its end; return what it said."""
        told = self.start(line, **environment)
        assert self.started[-1][0].wait(LIMIT_S) == 0, told.read_text()
        return told.read_text()

    def cut(self, cut: bool) -> None:
        """Pull the cable out, or put it in."""
        ip("-n", self.space, "link", "set", "eth0", "down" if cut else "up")

    def end(self) -> None:
        for process, _ in self.started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[dict[str, Machine]]:
    """Two machines, `one` and `two`, where this user may make some."""
    spaces = {name: f"mpserve-{os.getpid()}-{name}" for name in ("one", "two")}
    try:
        for space in spaces.values():
            ip("netns", "add", space)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not make network namespaces")
    known = [Path("/etc/netns", space) for space in spaces.values()]
    made = {name: Machine(name, space, tmp_path) for name, space in spaces.items()}
    try:
        one, two = spaces.values()
        ip("-n", one, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", two)
        for number, (space, folder) in enumerate(zip(spaces.values(), known, strict=True), 1):
            ip("-n", space, "addr", "add", f"10.99.0.{number}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
            ip("-n", space, "link", "set", "lo", "up")
            folder.mkdir(parents=True)
            (folder / "hosts").write_text("127.0.0.1 localhost\n10.99.0.1 one\n10.99.0.2 two\n")
        yield made
    finally:
        for machine in made.values():
            machine.end()
        for space, folder in zip(spaces.values(), known, strict=True):
            shutil.rmtree(folder, ignore_errors=True)
            ip("netns", "del", space)


def wait_for(told: Path, text: str) -> None:
    wait_until(lambda: text in told.read_text(), LIMIT_S)


def copied(line: str, one: Machine) -> str:
    """Return a line with copies between folders in place of those between machines."""
    return re.sub(r"scp -(r?)p one:", rf"cp -\1p {one.home}/", line)


def test_in_a_network_that_is_trusted(machines):
    one, two = machines["one"], machines["two"]
    lines = steps("one$ mpserve start --host")
    assert [machine for machine, _ in lines] == ["one", "two", "two", "one"]
    wait_for(one.start(lines[0][1]), "server.ready")
    two.run(copied(lines[1][1], one))
    wait_for(two.start(lines[2][1]), "worker.ready")
    assert "40 divisors: 100016" in one.run(lines[3][1])


def test_with_certificates(machines):
    one, two = machines["one"], machines["two"]
    lines = steps("one$ mpserve tls init")
    assert [machine for machine, _ in lines] == ["one", "one", "two", "two", "two", "two", "two"]
    one.run(lines[0][1])
    wait_for(one.start(f"sh -c '{lines[1][1]}'"), "server.ready")
    two.run(f"sh -ec '{copied(lines[2][1], one)}'")
    exports = "; ".join(line for _, line in lines[3:5])
    wait_for(two.start(f"sh -c '{exports}; {lines[5][1]}'"), "worker.ready")
    assert "40 divisors: 100016" in two.run(f"sh -c '{exports}; {lines[6][1]}'")


def test_a_worker_host_whose_cable_is_pulled_out_comes_back(machines):
    one, two = machines["one"], machines["two"]
    server = one.start("mpserve start --host 0.0.0.0 --insecure --session-timeout 2s")
    wait_for(server, "server.ready")
    two.run(f"cp -p {one.home}/.config/mpserve/authkey mpserve.key")
    worker = two.start("mpworker --connect one:7707 --authkey-file mpserve.key --log-format json")
    wait_for(worker, "worker.ready")
    two.cut(True)
    wait_for(server, "session.lost")
    two.cut(False)
    wait_for(worker, '"server.back"')
    assert "40 divisors: 100016" in one.run("MPSERVE_ADDRESS=one:7707 python program.py")
    events = [json.loads(line)["event"] for line in worker.read_text().splitlines()]
    assert events.count("worker.ready") == 1


WAITING = """\
from mpclient import connect
from mpclient.transport import patience
patience.SAY_S = 0.0
queue = connect().Queue(name="queue")
print("asks", flush=True)
print(queue.get())
"""


def test_a_program_whose_cable_is_pulled_out_says_so_and_goes_on(machines):
    one, two = machines["one"], machines["two"]
    server = one.start("mpserve start --host 0.0.0.0 --insecure --session-timeout 2s")
    wait_for(server, "server.ready")
    two.run(f"cp -p {one.home}/.config/mpserve/authkey mpserve.key")
    (two.home / "waiting.py").write_text(WAITING)
    told = two.start("MPSERVE_ADDRESS=one:7707 MPSERVE_AUTHKEY_FILE=mpserve.key python waiting.py")
    wait_for(told, "asks")
    two.cut(True)
    wait_for(server, "session.lost")
    wait_for(told, "calls wait meanwhile")
    two.cut(False)
    wait_for(told, "mpclient: the server at one:7707 is there again")
    put = "import mpclient; mpclient.connect().Queue(name='queue').put('found')"
    one.run(f'MPSERVE_ADDRESS=one:7707 python -c "{put}"')
    wait_for(told, "found")
    assert two.started[-1][0].wait(LIMIT_S) == 0
