"""Names that look like paths: only the journal's own files exist, whatever objects are called."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from tests.integration import commands
from tests.integration.raw import raw_of
from tests.security.attackers import Stock, request, text
from tests.unit.net.stage import Closed

from mpshared.wire.own.frames import Failed, Reply

home = commands.home
start = commands.start
pytestmark = pytest.mark.hosts

NAMES = [
    "../../escaped",
    "../" * 20 + "tmp/escaped",
    "/tmp/escaped",
    "/etc/passwd",
    "..",
    ".",
    "~/escaped",
    "$HOME/escaped",
    "a/b/c",
    "journal-1.db",
    "..\\..\\escaped",
    "C:\\escaped",
    "file:///tmp/escaped",
    "%2e%2e%2fescaped",
    "'; DROP TABLE entries; --",
    '"); ATTACH DATABASE "/tmp/escaped" AS x; --',
    "-rf",
    "--help",
    "|touch escaped",
    "$(touch escaped)",
    "`touch escaped`",
    "x" * 200,
]
REFUSED = ["", "a\0b", "a\nb", "../\x1b", "x" * 201, "mpserve.lock", "\u202ename"]


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def around(tmp_path) -> Path:
    """The folder around that of --data: what is escaped to falls into it."""
    folder = Path(tmp_path, "around", "deep", "deeper")
    folder.mkdir(parents=True)
    return folder


def test_objects_of_any_name_are_rows_of_the_journal(fresh_server, around):
    server = fresh_server("--data", str(around / "data"))
    with raw_of(server) as raw:
        program = raw.program()
        for name in NAMES:
            for kind in ("dict", "queue", "list", "lock"):
                program.open(kind, name)
            program.call("queue.put", program.open("queue", name), None, blobs=[b"N."])
        for name in REFUSED:
            program.send(program.encode("cluster.open", "", "queue", name, {}, False, None))
            event = program.next_event()
            assert isinstance(event, Failed), name
        stock = Stock(server)
        for name in NAMES:
            stock.ask(request("", "create", text(name)))
        stock.close()
    server.send_signal(signal.SIGKILL)
    server.wait()
    server.start()
    with raw_of(server) as raw:
        program = raw.program()
        for name in NAMES:
            assert program.call("queue.qsize", program.open("queue", name)).result == 1
        for name in NAMES:
            assert program.call("cluster.delete", "", name, "queue").result is True
    beyond = [name for name in files_in(around.parents[1]) if not name.startswith("deep/deeper/data")]
    assert sorted(beyond) == ["deep", "deep/deeper"]
    found = {path.suffix for path in (around / "data").rglob("*") if path.is_file()}
    assert found <= {".db", ".db-wal", ".db-shm", ""}


def test_the_commands_take_names_for_names(home, start, around):
    running = start("--port", "0", "--data", str(around / "data"))
    outside = around / "escaped"
    outside.write_text("untouched")
    key = home.key_file.read_text().strip()
    server = type("Server", (), {"address": running.address, "key": key})
    with raw_of(server) as raw:
        program = raw.program()
        for name in NAMES[:2]:
            program.open("dict", name)
        before = files_in(around)
        for name in ("../escaped", *NAMES[:2]):
            done = home.run("rm", "--connect", running.address, "--", name)
            assert done.returncode == (1 if name == "../escaped" else 0), done.stderr
        assert program.call("cluster.list_objects").result == []
    assert outside.read_text() == "untouched"
    assert {name for name in before if "data" not in name} == {"escaped"}
    assert Path("/etc/passwd").exists()


def test_kinds_and_settings_are_no_paths_either(fresh_server, around):
    server = fresh_server("--data", str(around / "data"))
    with raw_of(server) as raw:
        program = raw.program()
        for name in NAMES:
            for args in ((name, "x", {}), ("dict", "x", {name: name}), ("pool", "x", {"program": name})):
                try:
                    program.send(program.encode("cluster.open", "", *args, False, None))
                    assert isinstance(program.next_event(), Reply | Failed)
                except Closed:
                    program = raw.program()
    beyond = [name for name in files_in(around.parents[1]) if not name.startswith("deep/deeper/data")]
    assert sorted(beyond) == ["deep", "deep/deeper"]
