"""The commands and programs that tests start, forked from an interpreter that has imported all they need.

One that starts for itself takes a third of a second of a processor to begin, and hundreds are started.

    start("mpserve", "start", env=…, stdout=…)    as `subprocess.Popen`, which is what it returns
    start("mpworker", …), start("/path/of/a/program.py", …)

RULES
* From the command line on all is as in a process of its own: it is one, with the folder, the environment and
  the streams that it is given; and it ends as interpreters do.
* What an interpreter begins with (limits, PYTHON…, how text is hashed, what was loaded) is the first
  process's: tests in which that matters, and tests of how the commands begin, have theirs `typed`. With
  `--starts typed` all do.
* An interpreter is started for who is given more: descriptors, a session, other PYTHON… or LC_… variables.
  And everywhere but on Linux, where a fork of what has no threads is sound.
"""

from __future__ import annotations

import atexit
import builtins
import gc
import importlib
import io
import multiprocessing.process
import os
import pickle
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["run", "start", "type_all"]

IMPORTED = (
    *("mpserve.cli.banner", "mpserve.cli.commands", "mpserve.cli.starting", "mpserve.engines.journal"),
    *("mpserve.garbage", "mpserve.manager", "mpserve.net.files", "mpclient.aio", "mpclient.default"),
    *("mpclient.executor", "mpclient.pool", "mpclient.process", "mpclient.ship", "mpclient.worker.working"),
    *("mpshared.arguments", "mpshared.command", "mpshared.options", "cloudpickle", "encodings.idna", "json"),
    *("multiprocessing.managers", "multiprocessing.spawn", "psutil", "sqlite3", "structlog", "typer"),
    *("rich.console", "rich.table", "typer._adapters"),  # the last only newer ones have, and it takes long
)
MODULES = {"mpserve": "mpserve", "mpworker": "mpclient.worker"}
GIVEN = {"cwd", "encoding", "env", "stderr", "stdin", "stdout", "text"}
STATUS = 4
"""Bytes of a pid, and of how a process ended, on their way from who sees it."""
_all_typed = False


def type_all() -> None:
    """Fork nothing from now on."""
    global _all_typed  # noqa: PLW0603 - said once, on the command line
    _all_typed = True


def start(*words: object, typed: bool = False, **popen: Any) -> subprocess.Popen[Any]:
    """Start `mpserve`, `mpworker`, or a program by its path.

    Args:
        words: The command line.
        typed: In an interpreter of its own, as everybody else does.
        popen: As for `Popen`.
    """
    command = [str(word) for word in words]
    is_program = command[0] not in MODULES
    same = _of_interpreters(popen.get("env") or os.environ) == _of_interpreters(os.environ)
    if typed or _all_typed or sys.platform != "linux" or not same or not popen.keys() <= GIVEN:
        what = command[:1] if is_program else [str(Path(sys.executable).with_name(command[0]))]
        return subprocess.Popen([sys.executable, *what, *command[1:]], **popen)
    return Prepared(command, **popen)


def run(*words: object, timeout_s: float = 60.0, **popen: Any) -> subprocess.CompletedProcess[str]:
    """Start such a command, and wait for its end; what it says is text, in pipes unless told otherwise."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start(*words, **{**streams, "text": True, **popen}) as process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _of_interpreters(environment: Mapping[str, str]) -> dict[str, str]:
    read = {name: value for name, value in environment.items() if name.startswith(("PYTHON", "LC_", "LANG"))}
    read.pop("PYTHONPATH", None)  # which `settle` sees to
    return read


class Order(NamedTuple):
    """What to run, and where."""

    words: list[str]
    folder: str
    environment: dict[str, str]


class Prepared(subprocess.Popen[Any]):
    """A child of the first process: `subprocess` has the streams and the waiting, but not the fork."""

    _close_pipe_fds: Callable[..., None]
    _waitpid_lock: threading.Lock

    def _execute_child(
        self, args, _executable, _preexec, _close, _pass, cwd, env, _info, _flags, _shell, *rest
    ) -> None:
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = rest[:6]
        streams = [own if given == -1 else given for own, given in enumerate((p2cread, c2pwrite, errwrite))]
        order = Order(
            [str(word) for word in args], str(cwd or Path.cwd()), dict(os.environ if env is None else env)
        )
        self._told, theirs = socket.socketpair()
        with theirs:
            _first().send(order, [*streams, theirs.fileno()])
        self.pid = int.from_bytes(self._hear(), "little")
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _hear(self) -> bytes:
        told = self._told.recv(STATUS, socket.MSG_WAITALL)
        assert len(told) == STATUS, "the first process has ended"
        return told

    def _internal_poll(self, *_more: Any, **_named: Any) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self._wait(0)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        with self._waitpid_lock:
            if self.returncode is None:
                if not select.select([self._told], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(self.args, timeout)
                self.returncode = os.waitstatus_to_exitcode(int.from_bytes(self._hear(), "little"))
                self._told.close()
        return self.returncode


class First:
    """The process that has imported everything, as its user sees it; it ends with that."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.prepared", str(theirs.fileno())],
                cwd=Path(__file__).parents[1],
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
            )
        atexit.register(self._end)

    def _end(self) -> None:
        self._orders.close()  # nobody is left to give one
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:  # but a process that the tests have forked, which has it open, too
            self._process.kill()
            self._process.wait()

    def send(self, order: Order, descriptors: list[int]) -> None:
        data = pickle.dumps(order)
        socket.send_fds(self._orders, [len(data).to_bytes(STATUS, "little")], descriptors)
        self._orders.sendall(data)


@cache
def _first() -> First:
    return First()


# -- in the first process ----------------------------------------------------------------------------


class Nest:
    """Takes orders until there is nobody to give any, and tells how each process ends."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._children: dict[int, socket.socket] = {}
        self._bell, self._ringing = socket.socketpair()
        self._ringing.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's is for who ordered
        signal.set_wakeup_fd(self._ringing.fileno())

    def serve(self) -> Order | None:
        """Return the order in each child, and None here when nobody is left to give one."""
        while True:
            ready, _, _ = select.select([self._orders, self._bell], [], [])
            if self._bell in ready:
                self._bell.recv(4096)
                self._tell_ends()
            if self._orders in ready:
                size, descriptors, _, _ = socket.recv_fds(self._orders, STATUS, 4)
                if not size:
                    return None
                data = self._orders.recv(int.from_bytes(size, "little"), socket.MSG_WAITALL)
                order: Order = pickle.loads(data)
                if self._fork(descriptors):
                    return order

    def _tell_ends(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                told = self._children.pop(pid)
                with told, suppress(BrokenPipeError):  # or nobody wants to know
                    told.sendall(status.to_bytes(STATUS, "little"))

    def _fork(self, descriptors: list[int]) -> bool:
        told = socket.socket(fileno=descriptors.pop())
        pid = os.fork()
        if pid:
            self._children[pid] = told
            told.sendall(pid.to_bytes(STATUS, "little"))
        else:
            told.close()
            self._leave()
            for own, given in enumerate(descriptors):
                os.dup2(given, own)
        for descriptor in descriptors:
            os.close(descriptor)
        return not pid

    def _leave(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for sock in (self._orders, self._bell, self._ringing, *self._children.values()):
            sock.close()


def settle(order: Order) -> None:
    """Be where an interpreter would be, and know what it would know."""
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environment)
    sys.argv = order.words
    command = sys.executable if order.words[0] in MODULES else order.words[0]
    folders = order.environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [str(Path(command).absolute().parent), *filter(None, folders)]
    for name, descriptor, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        first = getattr(sys, name)
        at_once = first.write_through  # PYTHONUNBUFFERED
        data = open(descriptor, f"{mode}b", 0 if at_once else -1, closefd=False)  # noqa: SIM115
        stream = io.TextIOWrapper(
            data,
            first.encoding,
            first.errors,
            line_buffering=not at_once and (name == "stderr" or os.isatty(descriptor)),
            write_through=at_once,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    vars(multiprocessing.process)["ORIGINAL_DIR"] = str(Path.cwd())
    multiprocessing.process.current_process().authkey = os.urandom(32)


def be(order: Order) -> None:
    """Be this command or program; what it raises is the interpreter's matter."""
    settle(order)
    path = order.words[0]
    if path in MODULES:
        runpy.run_module(MODULES[path], run_name="__main__")
        return
    main = types.ModuleType("__main__")
    vars(main).update(__file__=path, __builtins__=builtins)
    sys.modules["__main__"] = main
    exec(compile(Path(path).read_bytes(), path, "exec"), vars(main))


if __name__ == "__main__":
    for module in IMPORTED:
        with suppress(ModuleNotFoundError):
            importlib.import_module(module)
    gc.freeze()
    found = Nest(socket.socket(fileno=int(sys.argv[1]))).serve()
    if found is not None:
        be(found)
