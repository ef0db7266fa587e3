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
* An interpreter is started for who is given more: other PYTHON… or LC_… variables, what runs before it, …
  And everywhere but on Linux, where a fork of what has no threads is sound.
* A worker host's own interpreters (`INTERPRETERS`) are forked from a process that it has begun beside it. It
  adopts them, as it does the forks of a nursery, and is their parent. With `--no-fork` it executes them.
* Server and worker host of an embedded cluster are forked, too, where its program is a test or was forked.
"""

from __future__ import annotations

import atexit
import builtins
import fcntl
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
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from mpclient import local
from mpclient.worker import interpreter, kernel

__all__ = ["BESIDE", "fork_embedded", "run", "start", "type_all"]

IMPORTED = (
    *("mpserve.cli.banner", "mpserve.cli.commands", "mpserve.cli.starting", "mpserve.engines.journal"),
    *("mpserve.garbage", "mpserve.manager", "mpserve.net.files", "mpclient.aio", "mpclient.default"),
    *("mpclient.executor", "mpclient.pool", "mpclient.process", "mpclient.ship", "mpclient.worker.working"),
    *("mpshared.arguments", "mpshared.command", "mpshared.options", "cloudpickle", "encodings.idna", "json"),
    *("mpclient.worker.newborn", "mpclient.worker.nursery"),
    *("multiprocessing.managers", "multiprocessing.spawn", "psutil", "sqlite3", "structlog", "typer"),
    *("rich.console", "rich.table", "typer._adapters"),  # the last only newer ones have, and it takes long
)
MODULES = {"mpserve": "mpserve", "mpworker": "mpclient.worker"}
INTERPRETERS = {"mpclient.worker.process", "mpclient.worker.nursery"}
GIVEN = {"cwd", "encoding", "env", "pass_fds", "start_new_session", "stderr", "stdin", "stdout", "text"}
BESIDE = "beside mpworker"
"""What the process is called that stands beside a worker host, which would not be there otherwise."""
MOST = 16
"""Descriptors that come with an order."""
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


def fork_embedded() -> None:
    """Have the embedded clusters of this process forked from now on."""
    vars(local)["subprocess"] = types.SimpleNamespace(**{**vars(subprocess), "Popen": _start_embedded})


def _start_embedded(command: list[str], **popen: Any) -> subprocess.Popen[Any]:
    module, *words = command[command.index("-m") + 1 :]
    (name,) = (name for name, of_it in MODULES.items() if of_it == module)
    return start(name, *words, **popen)


def _of_interpreters(environment: Mapping[str, str]) -> dict[str, str]:
    read = {name: value for name, value in environment.items() if name.startswith(("PYTHON", "LC_", "LANG"))}
    read.pop("PYTHONPATH", None)  # which `settle` sees to
    return read


class Order(NamedTuple):
    """What to run, where, and which of its descriptors follow the streams."""

    words: list[str]
    folder: str
    environment: dict[str, str]
    descriptors: tuple[int, ...]
    leads_session: bool


class Forked(subprocess.Popen[Any]):
    """An order's process: `subprocess` has the streams and the waiting, but not the fork."""

    _close_pipe_fds: Callable[..., None]
    _waitpid_lock: threading.Lock

    def _orders(self) -> Orders:
        raise NotImplementedError

    def _execute_child(
        self, args, _executable, _preexec, _close, passed, cwd, env, _info, _flags, _shell, *rest
    ) -> None:
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, _, _, _, _, _, leads_session = rest[:12]
        streams = [own if given == -1 else given for own, given in enumerate((p2cread, c2pwrite, errwrite))]
        order = Order(
            [str(word) for word in args],
            str(cwd or Path.cwd()),
            dict(os.environ if env is None else env),
            tuple(passed),
            leads_session,
        )
        self._told, theirs = socket.socketpair()
        with theirs:
            self._orders().send(order, [theirs.fileno(), *streams, *passed])
        self.pid = int.from_bytes(self._hear(), "little")
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _hear(self) -> bytes:
        told = self._told.recv(STATUS, socket.MSG_WAITALL)
        if len(told) < STATUS:
            raise ChildProcessError("it could not be forked")
        return told


class Prepared(Forked):
    """A child of the first process, which tells how it ends."""

    def _orders(self) -> Orders:
        return _first()

    def _internal_poll(self, *_more: Any, **_named: Any) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self._wait(0)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        # another thread may wait for it, too
        if not self._waitpid_lock.acquire(timeout=-1 if timeout is None else timeout):
            raise subprocess.TimeoutExpired(self.args, timeout)
        try:
            if self.returncode is None:
                if not select.select([self._told], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(self.args, timeout)
                self.returncode = os.waitstatus_to_exitcode(int.from_bytes(self._hear(), "little"))
                self._told.close()
        finally:
            self._waitpid_lock.release()
        return self.returncode


class Adopted(Forked):
    """A child of this process, which a process beside it has forked."""

    def _orders(self) -> Orders:
        assert _beside is not None
        return _beside

    def _execute_child(self, *given) -> None:
        super()._execute_child(*given)
        self._told.close()


class Orders:
    """Where a process takes orders that has imported everything."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, order: Order, descriptors: list[int]) -> None:
        data = pickle.dumps(tuple(order))
        socket.send_fds(self._sock, [len(data).to_bytes(STATUS, "little")], descriptors)
        self._sock.sendall(data)


_beside: Orders | None = None
_address: str | None = None
"""Of the first process, in those that it has forked."""


class First(Orders):
    """The process that has imported everything, as its user sees it; it ends with that."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        super().__init__(ours)
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
        vars(local)["_stop_all"]()  # whose own handler would come when nobody tells of their ends any more
        self._sock.close()  # nobody is left to give one
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:  # but a process that the tests have forked, which has it open, too
            self._process.kill()
            self._process.wait()


@cache
def _first() -> Orders:
    """Return where this process has what it starts forked."""
    if _address is None:
        return First()
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(_address)
    return Orders(sock)


# -- in the first process ----------------------------------------------------------------------------


class Nest:
    """Takes orders until there is nobody to give any, and tells how each process ends; or, beside a worker
    host, leaves them to that.
    """

    def __init__(self, orders: socket.socket, fork: Callable[[], int] = os.fork) -> None:
        self._orders = [orders]
        self._fork = fork
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind("")  # a name of the system's choice
        self._door.listen()
        self.address: str = self._door.getsockname()
        self._children: dict[int, socket.socket] = {}
        self._bell, self._ringing = socket.socketpair()
        self._ringing.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's is for who ordered
        signal.set_wakeup_fd(self._ringing.fileno())

    def serve(self) -> Order | None:
        """Return the order in each child, and None here when nobody is left to give one."""
        while True:
            ready, _, _ = select.select([*self._orders, self._door, self._bell], [], [])
            for one in ready:
                if one is self._bell:
                    self._bell.recv(4096)
                    self._tell_ends()
                elif one is self._door:
                    self._orders.append(self._door.accept()[0])
                elif (taken := self._take(one)) is None and one is self._orders[0]:
                    return None
                elif taken is None:
                    self._orders.remove(one)
                    one.close()
                elif self._obey(*taken):
                    return taken[0]

    def _take(self, orders: socket.socket) -> tuple[Order, list[int]] | None:
        """Return the next order and its descriptors; None: there is nobody any more."""
        size, descriptors, _, _ = socket.recv_fds(orders, STATUS, MOST)
        if not size:
            return None
        data = orders.recv(int.from_bytes(size, "little"), socket.MSG_WAITALL)
        return Order(*pickle.loads(data)), descriptors

    def _tell_ends(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                told = self._children.pop(pid)
                with told, suppress(BrokenPipeError):  # or nobody wants to know
                    told.sendall(status.to_bytes(STATUS, "little"))

    def _obey(self, order: Order, descriptors: list[int]) -> bool:
        told = socket.socket(fileno=descriptors.pop(0))
        pid = self._fork()
        if not pid:
            told.close()
            self._leave()
            place(descriptors, [0, 1, 2, *order.descriptors])
            if order.leads_session:
                os.setsid()
            return True
        if self._fork is os.fork:
            self._children[pid] = told
        told.sendall(pid.to_bytes(STATUS, "little"))
        for descriptor in descriptors:
            os.close(descriptor)
        return False

    def _leave(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for sock in (*self._orders, self._door, self._bell, self._ringing, *self._children.values()):
            sock.close()


def fork_orphan() -> int:
    """As `os.fork`, but the new process is the child of the next one above that adopts orphans."""
    ours, theirs = socket.socketpair()
    between = os.fork()
    if between:
        theirs.close()
        with ours:
            pid = int.from_bytes(ours.recv(STATUS, socket.MSG_WAITALL), "little")
            os.waitpid(between, 0)  # from then on it is
        if not pid:
            raise ChildProcessError("it could not be forked")
        return pid
    ours.close()
    pid = -1
    try:
        pid = os.fork()
        if pid:
            theirs.sendall(pid.to_bytes(STATUS, "little"))
    finally:
        if pid:
            os._exit(0)
    with theirs:
        theirs.recv(STATUS)  # the end: it has been adopted
    return 0


def place(descriptors: list[int], numbers: list[int]) -> None:
    """Have these descriptors under the numbers by which who was given them knows them."""
    free = max(numbers) + 1
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, free) for descriptor in descriptors]
    for descriptor in descriptors:
        os.close(descriptor)
    for descriptor, number in zip(moved, numbers, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)


def settle(order: Order) -> None:
    """Be where an interpreter would be, and know what it would know."""
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environment)
    sys.argv = order.words
    sys.modules.pop("tests", None)  # it is found where PYTHONPATH leads, or not at all
    command = sys.executable if order.words[0] in MODULES else order.words[0]
    first = [] if command in INTERPRETERS else [str(Path(command).absolute().parent)]  # these have -P
    folders = order.environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [*first, *filter(None, folders)]
    for name, descriptor, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        theirs = getattr(sys, name)
        at_once = theirs.write_through  # PYTHONUNBUFFERED
        data = open(descriptor, f"{mode}b", 0 if at_once else -1, closefd=False)  # noqa: SIM115
        stream = io.TextIOWrapper(
            data,
            theirs.encoding,
            theirs.errors,
            line_buffering=not at_once and (name == "stderr" or os.isatty(descriptor)),
            write_through=at_once,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    vars(multiprocessing.process)["ORIGINAL_DIR"] = str(Path.cwd())
    multiprocessing.process.current_process().authkey = os.urandom(32)


def become(order: Order) -> Callable[[], object]:
    """Be this command or program, but for what is returned: to be called by the module, so that tracebacks
    are no longer than an interpreter's. What it raises is the interpreter's matter.
    """
    if order.words[0] == "mpworker":
        order = begin_beside() or order
    settle(order)
    path = order.words[0]
    if path in INTERPRETERS:
        kernel.ask(kernel.NAME, path.rpartition(".")[2].encode())
        main: Callable[[], object] = importlib.import_module(path).main
        return main
    if path in MODULES:
        return partial(runpy.run_module, MODULES[path], run_name="__main__")
    fork_embedded()
    program = types.ModuleType("__main__")
    vars(program).update(__file__=path, __builtins__=builtins)
    sys.modules["__main__"] = program
    return partial(exec, compile(Path(path).read_bytes(), path, "exec"), vars(program))


def begin_beside() -> Order | None:
    """Begin the process beside this one, a worker host; return its order in each that is forked there."""
    global _beside  # noqa: PLW0603 - this process's
    ours, theirs = socket.socketpair()
    if os.fork():
        theirs.close()
        _beside = Orders(ours)
        interpreter.Interpreter._begin = _begin  # type: ignore[method-assign]
        return None
    ours.close()
    kernel.ask(kernel.NAME, BESIDE.encode())
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    os.close(nothing)
    return Nest(theirs, fork_orphan).serve() or os._exit(0)


_execute = interpreter.Interpreter._begin


def _begin(self, options, command, theirs, give) -> int:
    """Have a worker host's interpreter forked, which would be executed."""
    if not options.fork or not os.access(options.chdir or ".", os.X_OK):
        return _execute(self, options, command, theirs, give)
    (module, *words), (*passed, stdout, stderr) = command, give
    self._process = Adopted(
        [module, str(theirs.fileno()), *words],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        cwd=options.chdir,
        env=interpreter._environment(options),
        pass_fds=(theirs.fileno(), *passed),
        start_new_session=True,
    )
    pid: int = self._process.pid
    return pid


if __name__ == "__main__":
    for module in IMPORTED:
        with suppress(ModuleNotFoundError):
            importlib.import_module(module)
    gc.freeze()
    nest = Nest(socket.socket(fileno=int(sys.argv[1])))
    _address = nest.address
    found = nest.serve()
    if found is not None:
        become(found)()
