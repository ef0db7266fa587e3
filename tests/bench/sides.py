"""What is measured against what: the servers, how each is started, and which client speaks to it.

Rules:
- A side is a server and a client; two sides may share a server.
- All servers run throughout, so that a round visits every side within the same seconds.
- Every name used is new, so that what a failed measurement leaves behind meets nobody.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import shutil
import socket
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench import environments
from tests.bench.children import ROOT, Child, ChildError

__all__ = [
    "OURS",
    "SIDES",
    "Address",
    "Side",
    "command",
    "new_folder",
    "start_ours",
    "start_server",
    "start_speaking",
    "start_workers",
]

Address = tuple[str, int]
START_S = 20.0
OURS = ("std", "ours", "mixed", "bare", "plain", "pipes", "kept")  # what every run has


@dataclass(frozen=True, slots=True)
class Side:
    """One column of the tables."""

    key: str
    title: str
    server: str
    """Kind of server; "" for none."""
    station: str
    peer: str = ""
    """The environment that its clients need; "" for this one."""


SIDES: dict[str, Side] = {
    side.key: side
    for side in (
        Side("std", "standard library", "std", "stock"),
        Side("ours", "mpserve", "ours", "ours"),
        Side("mixed", "mpserve, stock client", "ours", "stock"),
        Side("bare", "bare sockets", "bare", "bare"),
        Side("plain", "bare sockets with pickles", "plain", "plain"),
        Side("pipes", "multiprocessing on pipes", "", "pipes"),
        Side("kept", "mpserve --data", "kept", "ours"),
        *(Side(peer, peer, "redis", peer, peer) for peer in ("redis", "celery", "rq", "dramatiq")),
        *(Side(peer, peer, "", peer, peer) for peer in ("dask", "ray")),
    )
}


def start_server(kind: str) -> tuple[Child, Address]:
    """Start the server `std`, `bare`, `redis`, `ours` or `kept` on a free port; return it and its address.

    Raises:
        ChildError: It did not start.
    """
    if kind == "ours":
        return start_ours()
    if kind == "kept":
        return start_ours("--data", new_folder())
    if kind == "redis":
        return start_redis()
    return start_speaking("-m", {"std": "tests.bench.stock"}.get(kind, f"tests.bench.{kind}"))


def start_speaking(*command: str) -> tuple[Child, Address]:
    """Start a server that says its address first.

    Raises:
        ChildError: It did not start.
    """
    server = Child(*command, serves=True)
    try:
        host, port = server.hear(START_S)
    except ChildError:
        server.end()
        raise
    return server, (host, port)


def start_redis() -> tuple[Child, Address]:
    """Start a Redis server that keeps nothing on disk.

    Raises:
        ChildError: It did not start.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:  # Redis takes no 0 for a port
        address: Address = taken.getsockname()
    words = ("--save", "", "--appendonly", "no", "--maxclients", "20000")
    server = Child(
        environments.redis_server(),
        *("--bind", address[0], "--port", str(address[1]), *words),
        speaks=False,
        serves=True,
    )
    deadline_s = time.monotonic() + START_S
    while server.alive and time.monotonic() < deadline_s:
        with contextlib.suppress(OSError), socket.create_connection(address, 1):
            return server, address
        time.sleep(0.02)
    story = server.story(f"took no connection within {START_S:.0f} s")
    server.end()
    raise ChildError(story)


def start_workers(address: Address, name: str, count: int) -> Child:
    """Start `mpworker` with `count` processes on the recipe `name`."""
    where = f"{address[0]}:{address[1]}"
    queues = ("--queue", f"{name}.tasks", "--results", f"{name}.results")
    return Child(command("mpworker"), "--connect", where, "--processes", str(count), *queues, speaks=False)


def new_folder() -> str:
    """Return a new folder for `--data`, on the disk that this tree is on; it goes with this program."""
    parent = ROOT / ".cache"
    parent.mkdir(exist_ok=True)
    folder = tempfile.mkdtemp(prefix="bench-data-", dir=parent)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def start_ours(*options: str, every_s: float = 0.02) -> tuple[Child, Address]:
    """Start `mpserve` with more options; look so often whether it is ready."""
    words = ("start", "--port", "0", "--log-format", "json", *options)
    server = Child(command("mpserve"), *words, speaks=False, serves=True)
    try:
        return server, _find_address(server, every_s)
    except ChildError:
        server.end()
        raise


def _find_address(server: Child, every_s: float) -> Address:
    """Read what the server writes until its line `server.ready`, which holds the address."""
    deadline_s = time.monotonic() + START_S
    while server.alive and time.monotonic() < deadline_s:
        for line in server.written():
            if "server.ready" in line and line.startswith("{"):
                host, _, port = str(json.loads(line)["address"]).rpartition(":")
                return host, int(port)
        time.sleep(every_s)
    raise ChildError(server.story(f"did not say server.ready within {START_S:.0f} s"))


def command(name: str) -> str:
    """Find an installed command beside this Python, else on the path.

    Raises:
        ChildError: It is not installed.
    """
    beside = Path(sysconfig.get_path("scripts")) / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ChildError(
            f"the command {name} is not installed for {sys.executable}: pip install -e . puts it there"
        )
    return found
