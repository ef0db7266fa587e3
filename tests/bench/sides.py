"""What is measured against what: the servers, how each is started, and which client speaks to it.

Rules:
- A side is a server and a client; two sides may share a server.
- All servers run throughout, so that a round visits every side within the same seconds.
- Every name used is new, so that what a failed measurement leaves behind meets nobody.
"""

from __future__ import annotations

import atexit
import json
import shutil
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.children import ROOT, Child, ChildError

__all__ = ["SIDES", "Address", "Side", "new_folder", "start_ours", "start_server", "start_workers"]

Address = tuple[str, int]
START_S = 20.0


@dataclass(frozen=True, slots=True)
class Side:
    """One column of the tables."""

    key: str
    title: str
    server: str
    """Kind of server; "" for none."""
    station: str


SIDES: dict[str, Side] = {
    side.key: side
    for side in (
        Side("std", "standard library", "std", "stock"),
        Side("ours", "mpserve", "ours", "ours"),
        Side("mixed", "mpserve, stock client", "ours", "stock"),
        Side("bare", "bare sockets", "bare", "bare"),
        Side("pipes", "multiprocessing on pipes", "", "pipes"),
        Side("kept", "mpserve --data", "kept", "ours"),
    )
}


def start_server(kind: str) -> tuple[Child, Address]:
    """Start the server `std`, `bare`, `ours` or `kept` on a free port; return it and its address.

    Raises:
        ChildError: It did not start.
    """
    if kind == "ours":
        return start_ours()
    if kind == "kept":
        return start_ours("--data", new_folder())
    server = Child("-m", {"std": "tests.bench.stock", "bare": "tests.bench.bare"}[kind])
    try:
        host, port = server.hear(START_S)
    except ChildError:
        server.end()
        raise
    return server, (host, port)


def start_workers(address: Address, name: str, count: int) -> Child:
    """Start `mpworker` with `count` processes on the recipe `name`."""
    where = f"{address[0]}:{address[1]}"
    queues = ("--queue", f"{name}.tasks", "--results", f"{name}.results")
    return Child(_command("mpworker"), "--connect", where, "--processes", str(count), *queues, speaks=False)


def new_folder() -> str:
    """Return a new folder for `--data`, on the disk that this tree is on; it goes with this program."""
    parent = ROOT / ".cache"
    parent.mkdir(exist_ok=True)
    folder = tempfile.mkdtemp(prefix="bench-data-", dir=parent)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def start_ours(*options: str) -> tuple[Child, Address]:
    """Start `mpserve` with more options."""
    words = ("start", "--port", "0", "--log-format", "json", *options)
    server = Child(_command("mpserve"), *words, speaks=False)
    try:
        return server, _find_address(server)
    except ChildError:
        server.end()
        raise


def _find_address(server: Child) -> Address:
    """Read what the server writes until its line `server.ready`, which holds the address."""
    deadline_s = time.monotonic() + START_S
    while server.alive and time.monotonic() < deadline_s:
        for line in server.written():
            if "server.ready" in line and line.startswith("{"):
                host, _, port = str(json.loads(line)["address"]).rpartition(":")
                return host, int(port)
        time.sleep(0.02)
    raise ChildError(server.story(f"did not say server.ready within {START_S:.0f} s"))


def _command(name: str) -> str:
    """Find an installed command beside this Python, else on the path."""
    beside = Path(sysconfig.get_path("scripts")) / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ChildError(
            f"the command {name} is not installed for {sys.executable}: pip install -e . puts it there"
        )
    return found
