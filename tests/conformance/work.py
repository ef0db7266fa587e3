"""What workers and processes of both sides run. No package of ours is named here."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

GIVEN: list[Any] = []
"""What an initializer was given in this process."""


class Custom(Exception):
    """An exception with two arguments."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code


def double(n: Any) -> Any:
    return n * 2


def add(a: Any, b: Any = 10) -> Any:
    return a + b


def fail(_: Any = None) -> None:
    raise ValueError("no good")


def fail_custom() -> None:
    raise Custom(7, "seven")


def fail_at(n: int) -> int:
    if n == 3:
        raise KeyError(n)
    return n


def return_what_cannot_travel() -> Any:
    import threading

    return threading.Lock()


def note(*given: Any) -> None:
    GIVEN.append(given)


def noted(_: Any = None) -> list[Any]:
    return GIVEN


def pid(_: Any = None) -> int:
    return os.getpid()


def wait_for(event: Any) -> str:
    event.wait(30)
    return "waited"


def take(lock: Any) -> None:
    lock.acquire()


def put(queue: Any, thing: Any) -> None:
    queue.put(thing)


def answer(connection: Any) -> None:
    connection.send(connection.recv() * 2)
    connection.close()


def exit_with(code: Any) -> None:
    sys.exit(code)


def raise_quietly() -> None:
    sys.stderr = None  # the traceback is not what is tried here
    raise RuntimeError("uncaught")


def kill_self(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(30)


def wait_for_sigint(event: Any) -> None:
    try:
        event.set()
        time.sleep(30)
    except KeyboardInterrupt:
        sys.exit(7)


def ignore_sigterm(event: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    event.set()
    time.sleep(30)


def about_self(queue: Any, mp: Any) -> None:
    """Put what a process says of itself and of its parent."""
    import multiprocessing

    me, parent = multiprocessing.current_process(), multiprocessing.parent_process()
    queue.put((me.name, me.daemon, parent is not None, multiprocessing.active_children()))
