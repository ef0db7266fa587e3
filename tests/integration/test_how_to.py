"""The pages of docs/how-to: their programs run, their commands, services and tables hold."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests import prepared
from tests.integration import commands, workers
from tests.integration.conftest import Server

home, start, mpworker = commands.home, commands.start, workers.mpworker
pytestmark = pytest.mark.hosts

ROOT = Path(__file__).parents[2]
PAGES = ("jobs.md", "operate.md", "coming-from.md")
JOBS, OPERATE, COMING = ((ROOT / "docs" / "how-to" / name).read_text("utf-8") for name in PAGES)
BIN = Path(sys.executable).parent
PRINTED = [
    ["125250"],
    ["done 7", "[7]"],
    [
        "one is here",
        "two is here",
        "too long: this job has run for longer than its timeout",
        "cancelled: True",
    ],
    ["True True"],
    ["[0, 1, 4, 9, 16]"],
    ["42"],
    ["[9, 900, 90000]"],
    ["1024"],
    ["0 put back"],
    ["True invoice 7 is written"],
    ["30"],
    ["1024"],
]


def blocks(page: str, language: str) -> list[str]:
    """Return a page's blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def typed(page: str, prompt: str) -> list[str]:
    """Return the lines of a page that are typed at a prompt."""
    return [line[2:] for block in blocks(page, "console") for line in block.splitlines() if line[0] == prompt]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Return the environment of programs that use a server and a worker host."""
    folder = tmp_path_factory.mktemp("programs")
    server = Server(folder / "server").start()
    try:
        with workers.starting_in(folder) as start:
            start(server, "--results", "gpu-results", queue="gpu", processes=2).ready()
            yield server.environment
    finally:
        server.stop()


@pytest.mark.parametrize(("number", "printed"), list(enumerate(PRINTED)))
def test_a_program(number, printed, environment, tmp_path):
    source = blocks(JOBS, "python") + blocks(COMING, "python")
    assert len(source) == len(PRINTED)
    (tmp_path / "program.py").write_text(source[number])
    done = prepared.run(tmp_path / "program.py", env=environment)
    assert (done.returncode, done.stdout.splitlines()) == (0, printed), done.stderr
    told = {0: "500 of 500 done", 1: "WARNING at 7"}
    assert told.get(number, "") in done.stderr
    assert done.stderr.count("\n") == (number in told)


def test_how_a_running_server_is_asked(start, home):
    address = start("--port", "0").address
    lines = [line for line in typed(JOBS, "$") + typed(OPERATE, "$") if line.startswith("mpserve status")]
    assert len(lines) == 5
    lines.remove("mpserve status --watch")  # which has no end: see test_watch
    for line in lines:
        done = home.type(line, environment={"MPSERVE_ADDRESS": address})
        assert (done.returncode, done.stderr) == (0, "")


def test_backup_and_restore(start, home):
    running = start("--port", "0", "--data", "data")
    assert running.end(signal.SIGTERM) == 0
    folder = [line for line in typed(OPERATE, "$") if not line.startswith("mpserve status")]
    assert [line.split()[1] for line in folder] == ["check", "export", "import", "check"]
    for line in folder:
        done = home.type(line)
        assert (done.returncode, done.stderr) == (0, ""), line
    assert start("--port", "0", "--data", "restored").end(signal.SIGTERM) == 0


def units() -> dict[str, dict[str, str]]:
    """Return what is under [Service] of each unit, by its Description."""
    found = {}
    for text in blocks(OPERATE, "ini"):
        unit = configparser.ConfigParser(interpolation=None)
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read_string(text.replace("\\\n", ""))
        found[unit["Unit"]["Description"]] = dict(unit["Service"])
    return found


def installed(line: str, folder: Path) -> list[str]:
    """Return a command with this installation and a folder of its own in the places that the page names."""
    places = {"/opt/mpserve/bin": BIN, "/etc/mpserve": folder, "/var/lib/mpserve": folder}
    for written, real in places.items():
        line = line.replace(written, str(real))
    return shlex.split(line)


def test_the_services_run_as_they_are_written(home, start, mpworker):
    key, certificates = (
        next(line.split("&& ", 1)[1] for line in typed(OPERATE, "#") if "urandom" in line),
        next(line.split(" && chown")[0] for line in typed(OPERATE, "#") if "tls init" in line),
    )
    for line in (key, certificates.replace("--host one", "--host localhost")):
        done = home.type(shlex.join(["sh", "-ec", " ".join(_placed(line, home.folder))]))
        assert (done.returncode, done.stderr) == (0, "")
    (home.folder / "authkey").chmod(0o600)
    services = units()
    words = installed(services["mpserve"]["ExecStart"], home.folder)
    assert words[:2] == [str(BIN / "mpserve"), "start"]
    server = start("--port", "0", *words[2:])
    words = installed(services["mpworker"]["ExecStart"].replace("one:7707", server.address), home.folder)
    words = [word.replace("0.0.0.0", "localhost") for word in words]
    worker = subprocess.Popen(
        [*words, "--processes", "1"], env=home.environment, stderr=subprocess.PIPE, text=True
    )
    assert worker.stderr is not None
    try:
        assert json.loads(worker.stderr.readline())["event"] == "worker.ready"
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=20)
    assert worker.returncode == 0
    assert server.process.poll() is None
    reload = services["mpserve"]["ExecReload"].replace("$MAINPID", str(server.process.pid))
    assert home.type(reload).returncode == 0
    assert server.end(signal.SIGTERM) == 0


def _placed(line: str, folder: Path) -> list[str]:
    return [line.replace("/opt/mpserve/bin", str(BIN)).replace("/etc/mpserve", str(folder))]


def test_the_commands_of_containers_are_understood():
    written = [json.loads(found) for found in re.findall(r'`(\["mp.*?\])`', OPERATE)]
    assert [words[0] for words in written] == ["mpserve", "mpserve", "mpworker"]
    for words in written:
        done = subprocess.run(
            [BIN / words[0], *words[1:], "--help"], capture_output=True, text=True, timeout=20
        )
        assert done.returncode == 0
        for option in (word for word in words if word.startswith("--")):
            assert option in done.stdout


def test_each_event_of_the_server_is_in_the_table():
    table = {
        name for line in OPERATE.splitlines() for name in re.findall(r"`([a-z]+\.[a-z_0-9]+)`", line[:120])
    }
    source = "".join(path.read_text("utf-8") for path in (ROOT / "server").rglob("*.py"))
    areas = "server|session|job|lock|journal|keys|tls|peer|loop|call|output|listener"
    logged = set(re.findall(rf'"((?:{areas})\.[a-z_0-9]+)"', source))
    ops = set(re.findall(r'"(\w+\.\w+)"', (ROOT / "shared" / "mpshared" / "ops.py").read_text("utf-8")))
    quiet = {"peer.authenticated", "server.no_shortcut"}  # for developers: --log-level debug
    assert logged - quiet - ops <= table
    assert {name for name in table if re.match(rf"({areas})\.", name)} <= logged


@pytest.mark.skipif(not Path("/usr/bin/systemd-analyze").exists(), reason="there is no systemd here")
@pytest.mark.parametrize("name", ["mpserve", "mpworker"])
def test_systemd_understands_the_units(name, tmp_path):
    text = next(block for block in blocks(OPERATE, "ini") if f"Description={name}\n" in block)
    unit = tmp_path / f"{name}.service"
    unit.write_text(text.replace("/opt/mpserve/bin", str(BIN)))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
    mentioned = [line for line in done.stderr.splitlines() if name in line]
    assert mentioned == []
