"""The classic programs of examples/: they print the same with `multiprocessing` and with `mpclient`.

Each runs with the standard library as it is, and on a server with two worker hosts in different folders; the
one with all objects in it also with a cluster of its own, as `test_examples.py` has others do.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from pathlib import Path

import pytest
from tests import prepared
from tests.integration import workers
from tests.integration.conftest import Server

pytestmark = pytest.mark.hosts

EXAMPLES = Path(__file__).parents[2] / "examples"
ALL_AT_ONCE = "workshop.py"
CLASSICS = (
    "consumers.py",
    "logfile.py",
    "messages.py",
    "permits.py",
    "shared_dict.py",
    "signalling.py",
    "stages.py",
    "turns.py",
    ALL_AT_ONCE,
)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    """Return the environment of a program that uses a server with two worker hosts."""
    folder = tmp_path_factory.mktemp("hosts")
    server = Server(folder / "server").start()
    try:
        with workers.starting_in(folder) as start:
            for name in ("one", "two"):
                (folder / name).mkdir()
                start(server, "--chdir", str(folder / name), "--name", name).ready()
            yield server.environment
    finally:
        server.stop()


def run(source: Path, environment: dict[str, str], *words: str) -> list[str]:
    """Run a program to its end, in an empty folder; return the lines it printed."""
    folder = source.parent / f"cwd-{source.stem}"
    folder.mkdir(exist_ok=True)
    done = prepared.run(source, *words, env=environment, cwd=folder, timeout_s=100)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def copy(name: str, folder: Path, *, standard: bool) -> Path:
    """Copy an example out of the tree; with `standard` its one import line is the standard library's."""
    text = (EXAMPLES / name).read_text("utf-8")
    assert text.count("import mpclient as multiprocessing\n") == 1
    if standard:
        text = text.replace("import mpclient as multiprocessing\n", "import multiprocessing\n")
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def comparable(lines: list[str]) -> list[str]:
    """Leave out what depends on the number of cores, and the order in which processes end."""
    return sorted(line for line in lines if not re.fullmatch(r"Consumer-\d+: done", line))


@pytest.fixture
def expected(name, tmp_path):
    """Return what a classic prints with the standard library."""
    (tmp_path / "plain").mkdir()
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}  # else its lines mix
    return comparable(run(copy(name, tmp_path / "plain", standard=True), buffered))


@pytest.mark.parametrize("name", CLASSICS)
def test_a_classic_prints_what_it_prints_with_the_standard_library(name, expected, hosts, tmp_path):
    assert comparable(run(copy(name, tmp_path, standard=False), hosts)) == expected


@pytest.mark.parametrize("name", [ALL_AT_ONCE])
def test_with_a_cluster_of_its_own_too(name, expected, tmp_path):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MPSERVE_")}
    embedded = kept | {"MPSERVE_WORKER_PROCESSES": "2"}
    assert comparable(run(copy(name, tmp_path, standard=False), embedded)) == expected


def test_map_reduce(hosts):
    lines = run(EXAMPLES / "map_reduce.py", hosts, "--limit", "40")
    assert lines[-1] == "40 files; counted here alone: the same"


def test_mandelbrot(hosts, tmp_path):
    picture = tmp_path / "set.png"
    lines = run(EXAMPLES / "mandelbrot.py", hosts, str(picture), "--width", "120", "--tile", "24")
    tiles = [int(found[1]) for line in lines if (found := re.match(r" +(\d+) tiles by \S+:\d+$", line))]
    assert sum(tiles) == 20
    assert lines[-1].endswith(f"120 x 96, 20 tiles, {len(tiles)} workers")
    width, height, pixels = read_png(picture.read_bytes())
    assert (width, height) == (120, 96)
    assert pixel(pixels, width, 88, 50) == (0, 0, 0)  # near 0, inside the set
    assert len({pixel(pixels, width, 24 * i, 24 * j) for i in range(5) for j in range(4)}) == len(tiles)


def read_png(data: bytes) -> tuple[int, int, bytes]:
    """Return width, height and the uncompressed rows; checks every chunk's sum."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        (size,) = struct.unpack_from("!I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack_from("!I", data, at + 8 + size)[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + size
    width, height = struct.unpack_from("!II", chunks[b"IHDR"])
    return width, height, zlib.decompress(chunks[b"IDAT"])


def pixel(rows: bytes, width: int, x: int, y: int) -> tuple[int, ...]:
    at = y * (3 * width + 1) + 1 + 3 * x
    return tuple(rows[at : at + 3])
