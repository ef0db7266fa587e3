"""The standard library's manager as a user would set it up: a server to compare with, a client for both.

    python -m tests.bench.stock     serves on a free loopback port, which is printed; ends with standard input

Rules:
- Objects are had by name through registered callables, the way the documentation's queue recipe does; our
  server answers the same names, so one client program measures both.
- Nothing is tuned: what is measured is what users have.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from multiprocessing import managers, process
from multiprocessing.managers import BaseProxy, DictProxy, ListProxy, SyncManager
from typing import Any

__all__ = ["KEY_VARIABLE", "Manager", "connect", "key"]

KEY_VARIABLE = "MPSERVE_AUTHKEY"

AcquirerProxy: type[BaseProxy] = managers.AcquirerProxy  # type: ignore[attr-defined]  # not in typeshed
QueueProxy: type[BaseProxy] = managers.MakeProxyType(  # type: ignore[attr-defined]
    "QueueProxy", ("put", "get", "qsize", "empty", "task_done", "join")
)


class Manager(SyncManager):
    """Name the shared objects of the bench; a client needs the names only."""


class Served(Manager):
    """Hold the shared objects, in the server's process."""


def _named(make: Callable[[], object]) -> Callable[[str], object]:
    """Give a callable that makes an object at its name's first mention and returns it ever after."""
    objects: dict[str, object] = {}
    lock = threading.Lock()

    def get(name: str = "default") -> object:
        with lock:
            if name not in objects:
                objects[name] = make()
            return objects[name]

    return get


KINDS: dict[str, tuple[Callable[[], object], type[BaseProxy]]] = {
    "get_queue": (queue.Queue, QueueProxy),
    "get_dict": (dict, DictProxy),
    "get_list": (list, ListProxy),
    "get_lock": (threading.Lock, AcquirerProxy),
}
for typeid, (make, proxytype) in KINDS.items():
    Served.register(typeid, _named(make), proxytype)
    Manager.register(typeid, proxytype=proxytype)


def key() -> bytes:
    """Return the key that this run of the bench made; proxies find it in the current process too."""
    found = os.environ[KEY_VARIABLE].encode()
    process.current_process().authkey = found
    return found


def connect(address: tuple[str, int]) -> Any:
    """Return a connected manager."""
    manager = Manager(address, key())
    manager.connect()
    return manager


def main() -> None:
    """Serve until standard input ends."""
    server = Served(("127.0.0.1", 0), key()).get_server()
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    print(json.dumps(server.address), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
