"""The classic programs of examples/: they print the same with `multiprocessing` and with `mpclient`.

Each runs with the standard library as it is, with a cluster of its own, and on a server with two worker hosts
in different folders.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from tests.integration import workers
from tests.integration.conftest import Server

pytestmark = pytest.mark.hosts

EXAMPLES = Path(__file__).parents[2] / "examples"
CLASSICS = (
    "consumers.py",
    "logfile.py",
    "messages.py",
    "permits.py",
    "shared_dict.py",
    "signalling.py",
    "stages.py",
    "turns.py",
    "workshop.py",
)


@pytest.fixture(scope="module", params=["embedded", "hosts"])
def environment(request, tmp_path_factory):
    """Return the environment of a program: a cluster of its own, or a server with two worker hosts."""
    if request.param == "embedded":
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MPSERVE_")}
        yield kept | {"MPSERVE_WORKER_PROCESSES": "2"}
        return
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
    command = [sys.executable, str(source), *words]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=100)
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


@pytest.mark.parametrize("name", CLASSICS)
def test_a_classic_prints_what_it_prints_with_the_standard_library(name, environment, tmp_path):
    plain, ours = tmp_path / "plain", tmp_path / "ours"
    plain.mkdir()
    ours.mkdir()
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}  # else its lines mix
    expected = run(copy(name, plain, standard=True), buffered)
    assert comparable(run(copy(name, ours, standard=False), environment)) == comparable(expected)


def test_map_reduce(environment):
    lines = run(EXAMPLES / "map_reduce.py", environment, "--limit", "80")
    assert lines[-1] == "80 files; counted here alone: the same"


def test_mandelbrot(environment, tmp_path):
    picture = tmp_path / "set.png"
    lines = run(EXAMPLES / "mandelbrot.py", environment, str(picture), "--width", "120", "--tile", "24")
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
