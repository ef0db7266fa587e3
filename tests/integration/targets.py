"""What Processes of tests run: found by name, by the standard library's children and by ours."""

from __future__ import annotations

import os
import sys
import threading
from multiprocessing import active_children, current_process, parent_process
from multiprocessing.context import SpawnProcess
from typing import Any

import mpclient
from mpclient.queues import Queue

__all__ = ["CountingQueue", "Process", "describe", "end", "nest", "put_all", "start_method", "wait"]


class Process(SpawnProcess):
    """The standard library's, with the name of ours."""


def end(how: str, value: Any = None) -> None:
    """End in one of the ways a process can."""
    match how:
        case "return":
            return
        case "exit":
            sys.exit(value)
        case "raise":
            raise value
        case "_exit":
            os._exit(value)
        case "signal":
            os.kill(os.getpid(), value)
        case "thread":  # one that is no daemon is waited for
            threading.Timer(0.05, os._exit, (value,)).start()


def wait(begun: Any, gate: Any) -> None:
    """Say that it runs, and wait for the gate."""
    begun.set()
    gate.wait()


class CountingQueue(Queue):
    """A queue that counts what is put and got, as programs do that want its length everywhere."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.count = mpclient.Value("i", 0)

    def __getstate__(self) -> Any:
        return {"parent": super().__getstate__(), "count": self.count}

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state["parent"])
        self.count = state["count"]

    def put(self, *args: Any, **more: Any) -> None:
        super().put(*args, **more)
        with self.count:
            self.count.value += 1


def put_all(queue: Any, items: Any) -> None:
    """Put each of them."""
    for item in items:
        queue.put(item)


def describe(answer: Any) -> None:
    """Tell what a process knows of itself."""
    this, parent = current_process(), parent_process()
    answer.put(
        {
            "name": this.name,
            "pid": this.pid == this.ident == os.getpid(),
            "daemon": this.daemon,
            "alive": this.is_alive(),
            "exitcode": this.exitcode,
            "repr": repr(this).replace(str(parent.pid), "PID"),
            "parent": (parent.name, parent.pid, parent.is_alive()),
            "parent's repr": repr(parent),
            "children": active_children(),
            "stdin": sys.stdin.read(),
            "argv": sys.argv == ["a", "b"],
            "authkey": bytes(this.authkey),
        }
    )


def start_method(answer: Any) -> None:
    """Tell the start method of a process."""
    answer.put(mpclient.get_start_method(allow_none=True))


def nest(process: Any, answer: Any, depth: int) -> None:
    """Start a Process in a Process, and tell all names."""
    answer.put(current_process().name)
    if depth:
        child = process(target=nest, args=(process, answer, depth - 1))
        try:
            child.start()
        except AssertionError as err:
            answer.put(str(err))
        else:
            child.join()
