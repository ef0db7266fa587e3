"""What the attackers of these tests have at hand.

Canary       sings, in a file, when anything of it was run, or even imported; `COMMAND` is for shells
Attacked     one `mpserve start` process, for which the canary can be imported
Stock        a connection of the standard library's protocol, by hand: what it reads is never unpickled here
unharmed     a stretch of attacks after which the server must be as it was, seen from outside: it lives, has
             not grown, has answered somebody honest all the while, and logged no mistake of its own
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import Any

from tests.integration.conftest import Server
from tests.integration.raw import WAIT_S, Raw

from mpshared import symbolic

__all__ = [
    "COMMAND",
    "MODULE",
    "Attacked",
    "Canary",
    "Stock",
    "growth_of",
    "request",
    "short",
    "text",
    "unharmed",
]

COMMAND = 'touch "$CANARY"'
MODULE = "canary_of_these_tests"
_SOURCE = """\
import os
from pathlib import Path

def sing(*args, **kwds):
    Path(os.environ["CANARY"]).touch()
    return 0

sing()

class Bird:
    __new__ = __init__ = __setstate__ = __setattr__ = __getattr__ = __call__ = __setitem__ = sing
    __hash__ = __eq__ = __lt__ = __repr__ = __str__ = __iter__ = __len__ = __del__ = __reduce_ex__ = sing
    append = extend = add = update = sing
"""
_GROWS_BYTES = 96 << 20
_ANSWERS_S = 10.0
"""An answer takes 0.1 ms. An attack that does not fail takes minutes, or the whole memory."""


@dataclass
class Canary:
    """Put into the environment of a process that is attacked."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / f"{MODULE}.py").write_text(_SOURCE)

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.folder), "CANARY": str(self.folder / "sang")}

    @property
    def sang(self) -> bool:
        """Whether anything ran."""
        return (self.folder / "sang").exists()


@dataclass
class Attacked(Server):
    """A server whose process could import the canary."""

    more: dict[str, str] = field(default_factory=dict)

    @property
    def canary(self) -> Canary:
        return Canary(self.folder.with_name("canary"))

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **self.canary.environment, **self.more}

    @property
    def where(self) -> tuple[str, int]:
        host, _, port = self.address.rpartition(":")
        return host, int(port)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid


# -- the standard library's protocol ----------------------------------------------------------------


def text(string: str) -> bytes:
    """Return what pickles a text."""
    data = string.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def short(data: bytes) -> bytes:
    """Return what pickles bytes."""
    return b"B" + struct.pack("<I", len(data)) + data


def request(ident: str, method: str, args: bytes = b"", kwds: bytes = b"") -> bytes:
    """Return a request whose arguments are opcodes; `kwds` are those of keys and values."""
    first = text(ident) if ident else b"N"
    return b"\x80\x04(" + first + text(method) + b"(" + args + b"t}(" + kwds + b"ut."


class Stock:
    """One authenticated connection; it begins anew when the server has closed it."""

    def __init__(self, server: Attacked, *, persistent: bool = True) -> None:
        self._server, self._persistent = server, persistent
        self._conn = self._open()

    def _open(self) -> connection.Connection[Any, Any]:
        conn = connection.Client(self._server.where, authkey=self._server.key.encode())
        if self._persistent:
            conn.send((None, "accept_connection", ("attacker",), {}))
            conn.recv_bytes()
        return conn

    def ask(self, payload: bytes) -> Any:
        """Send these bytes; return the reply as data, None where the server closed the connection."""
        try:
            self._conn.send_bytes(payload)
            assert self._conn.poll(WAIT_S), "no answer"
            return symbolic.load(self._conn.recv_bytes())
        except (EOFError, ConnectionError):
            self.close()
            self._conn = self._open()
            return None

    def create(self, typeid: str, args: bytes = b"") -> str:
        """Make an object; return its ident."""
        one_shot = Stock(self._server, persistent=False)
        kind, made = one_shot.ask(request("", "create", text(typeid) + args))
        one_shot.close()
        assert kind == "#RETURN", made
        ident: str = made[0]
        return ident

    def close(self) -> None:
        self._conn.close()


# -- what the server suffers --------------------------------------------------------------------------


@contextmanager
def unharmed(
    server: Attacked, *, grows_bytes: int = _GROWS_BYTES, answers_s: float = _ANSWERS_S
) -> Iterator[None]:
    """See that the server lives, does not grow by more, and answers an honest client all the while."""
    raw, over, worst = Raw(server), threading.Event(), [0.0]
    honest = raw.program()
    grown = growth_of(server.pid)
    asking = threading.Thread(target=_ask_on, args=(honest.call, over, worst))
    asking.start()
    try:
        yield
        assert grown() < grows_bytes, "the server has grown"
    finally:
        over.set()
        asking.join(WAIT_S)
        raw.close()
    assert server.process is not None
    assert server.process.poll() is None, "the server is gone"
    assert not asking.is_alive()
    assert worst[0] < answers_s, "somebody honest had to wait"
    assert not server.canary.sang, "something ran on the server"
    mistakes = mistakes_in(server.log)
    assert not mistakes, f"an attack met a mistake of ours: {mistakes[0][:3000]}"


def mistakes_in(log: str) -> list[str]:
    """Return the lines of a JSON log that tell of exceptions nobody expected."""
    return [line for line in log.splitlines() if '"exception"' in line or line.startswith("Traceback")]


def _ask_on(ask: Callable[[str], object], over: threading.Event, worst: list[float]) -> None:
    import time

    worst[0] = float("inf")
    longest_s = 0.0
    while not over.wait(0.005):
        began_s = time.monotonic()
        ask("cluster.count")
        longest_s = max(longest_s, time.monotonic() - began_s)
    worst[0] = longest_s


def growth_of(pid: int) -> Callable[[], int]:
    """Return what tells by how many bytes a process has been larger at most since this call."""
    status = Path(f"/proc/{pid}/status")

    def read(name: str) -> int:
        [line] = [line for line in status.read_text().splitlines() if line.startswith(name)]
        return int(line.split()[1]) << 10

    with suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # begin a new high-water mark
    before = read("VmRSS")
    return lambda: read("VmHWM") - before
