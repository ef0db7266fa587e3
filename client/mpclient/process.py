"""Process: as `multiprocessing.Process`, on any worker host.

RULES
* Names, numbers, assertions, messages, `repr`, what the current and the parent process are, and what happens
  when a program ends: all that is the standard library's own `BaseProcess`, which only has to be told how a
  process is started, waited for and sent signals (`_Remote`). So `multiprocessing.current_process()` and its
  kin mean the same as ours.
* The object itself is what travels. Code of ``__main__`` goes by value, as with every value of ours.
* The authentication key is inherited as in the standard library, but never travels if it is the server's:
  the host has that one.
* A program that ends waits for its Processes, and terminates its daemons; one that was interrupted (Ctrl-C)
  interrupts them first, as a terminal does with processes of its own.

`Cluster.Process` is this class, bound to that cluster; this one belongs to the default cluster.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from multiprocessing.process import (
    BaseProcess,
    current_process,
    parent_process,
)
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mpclient.context import default_context
from mpclient.objects.t_process import RemoteProcess
from mpclient.output.no_worker import none_came, say_no_worker
from mpclient.output.remarks import remark
from mpclient.pooling.refusal import pickled
from mpclient.values.pickling import loads
from mpshared.errors import MpserveError, NoSuchObject, NotSupported, NoWorkers, ServerGone
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.cluster import Cluster
    from mpclient.session import Session
    from mpshared.values import Blob

__all__ = [
    "ForkServerProcess",
    "Process",
    "SpawnProcess",
    "active_children",
    "bound_to",
    "current_process",
    "kind_for",
    "parent_process",
    "unpack",
]

_standard: Final[Any] = import_module("multiprocessing.process")
_util: Final[Any] = import_module("multiprocessing.util")
_OPEN: Final = BY_NAME["cluster.open"]
_WAIT_FOR: Final = BY_NAME["cluster.wait"]
_SAY_S: Final = 3.0
"""How long a start waits for a worker host before it says so."""
_KILLED: Final = -9
_EXECUTOR: Final = "concurrent.futures.process"
_LEFT_BEHIND: Final = frozenset({"authkey", "semprefix", "tempdir"})
"""What of a process's configuration means nothing on another host; the key goes by itself."""


class Process(BaseProcess):
    """A process on a worker host; arguments, attributes and methods as `multiprocessing.Process`.

    It is placed on the host with the fewest Processes per slot, outside the job slots, within that host's
    `--max-spawned`. It never runs twice: when its host is lost, its exit code is -9.
    """

    _start_method = None
    _config: dict[str, Any]
    _popen: _Remote | None
    _parent_pid: int
    _bootstrap: Callable[..., int]
    _cluster: ClassVar[Cluster | None] = None
    """Where it runs; None: on the default cluster."""
    _method: ClassVar[str | None] = None
    """The start method that it finds to be its own; None: its program's."""

    @property
    def host(self) -> str | None:
        """The name of the host that it runs on, None before it is started."""
        self._check_closed()  # type: ignore[attr-defined]
        return None if self._popen is None else self._popen.host

    @classmethod
    def _find_cluster(cls) -> Cluster:
        if cls._cluster is not None:
            return cls._cluster
        from mpclient.default import default_cluster  # noqa: PLC0415 - only where no cluster is named

        return default_cluster()

    def start(self) -> None:
        """Start it; returns when it runs.

        Raises:
            NoWorkers: No worker host came in time, or none has this Python, which code of ``__main__`` needs.
            NotAllowed: All hosts have as many processes as they may.
        """
        with _sweep:  # it looks which of its siblings have ended
            super().start()

    def interrupt(self) -> None:
        """Send SIGINT, as `multiprocessing` has it from Python 3.14 on."""
        self._check_closed()  # type: ignore[attr-defined]
        self._popen.interrupt()  # type: ignore[union-attr]  # None has none: told so, as by `terminate`

    @staticmethod
    def _Popen(process_obj: Process) -> _Remote:  # noqa: N802 - the standard library's name
        return _Remote(process_obj)

    @staticmethod
    def _after_fork() -> None:
        """Do nothing: it is not a fork of its program."""


class SpawnProcess(Process):
    """A Process of a context whose start method is "spawn"."""

    _method = "spawn"


class ForkServerProcess(Process):
    """A Process of a context whose start method is "forkserver"."""

    _method = "forkserver"


_KINDS: Final[dict[str, type[Process]]] = {
    kind.__name__: kind for kind in (Process, SpawnProcess, ForkServerProcess)
}


class _Remote:
    """A started Process: what `BaseProcess` calls its popen."""

    def __init__(self, process: Process) -> None:
        _refuse_executors(process)
        _ending.arrange()
        cluster = process._find_cluster()
        self.session = cluster.session
        self._name = str(process.name)
        settings = {"name": self._name, "daemon": bool(process.daemon)}
        blob = _pack(process, self.session)
        ident = self.session.call(_OPEN, "", ["process", None, settings, False, None], [blob]).result[0]
        self.sentinel = RemoteProcess(self.session.claim(ident), self._name)
        self.host, self.pid = _start(self.sentinel, self.session)
        self.returncode: int | None = None
        self._lost: str | None = None
        """Why the server cannot say how it ended; None: it can."""

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        if self.returncode is None and _sweep.spares(self):
            return None
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end; return the exit code, None if `timeout` seconds passed first."""
        if self.returncode is None:
            code = self._ask(timeout)
            if code == _KILLED:
                self._say_if_lost()
            self.returncode = code
        return self.returncode

    def _ask(self, timeout: float | None) -> int | None:
        try:
            return self.sentinel.wait(timeout)
        except NoSuchObject:
            self._lost = "the server had given this program up, and ended what belonged to it"
        except ServerGone:
            if not self.session.closed:
                raise
            self._lost = ""  # the server had it ended when this program said goodbye
        return _KILLED

    def _say_if_lost(self) -> None:
        lost = self.sentinel.look().lost if self._lost is None else self._lost
        if lost:
            remark(f"process {self._name} (pid {self.pid}) is lost: {lost}")

    def interrupt(self) -> None:
        """Send SIGINT."""
        self.send_signal(2)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(15)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(9)

    def send_signal(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.returncode is None:
            self.sentinel.signal(number)

    def close(self) -> None:
        """Do nothing: the server frees what nothing refers to any more."""


def _refuse_executors(process: Process) -> None:
    if getattr(getattr(process, "_target", None), "__module__", "") == _EXECUTOR:
        raise NotSupported(
            "a ProcessPoolExecutor of concurrent.futures speaks with its processes through pipes of this "
            "machine, so they cannot run on other hosts (mp_context=mpclient.get_context()). Use "
            "mpclient.connect().executor(), which has the same methods and runs on the cluster's "
            "workers; without mp_context the standard library's runs on this machine"
        )


class _Sweep(threading.local):
    """Looks after all Processes of this one in one call to each server; in use while `with` lasts."""

    def __init__(self) -> None:
        self._depth = 0
        self._ended: dict[Session, set[str]] = {}

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._ended.clear()

    def spares(self, remote: _Remote) -> bool:
        """Tell whether it was running when the sweep first looked: then it need not be asked for."""
        if not self._depth:
            return False
        if remote.session not in self._ended:
            self._ended[remote.session] = self._look(remote.session)
        return remote.sentinel._handle.ident not in self._ended[remote.session]

    def _look(self, session: Session) -> set[str]:
        """Return those that have ended, or have to be asked one by one."""
        popens = [child._popen for child in _children_of(session)]
        idents = [popen.sentinel._handle.ident for popen in popens if popen and popen.returncode is None]
        try:
            return set(session.call(_WAIT_FOR, "", [idents, 0]).result)
        except NoSuchObject:
            return set(idents)


_sweep: Final = _Sweep()


def active_children() -> list[BaseProcess]:
    """Return the living child processes of this one; those that have ended are joined."""
    with _sweep:
        return _standard.active_children()  # type: ignore[no-any-return]


def _start(remote: RemoteProcess, session: Session) -> tuple[str, int]:
    """Start it; say after a while that no worker host is there, and later give up."""
    from mpclient.local import worker_wait_s  # noqa: PLC0415 - most programs start no process

    wait_s = worker_wait_s(session)
    deadline_s = time.monotonic() + wait_s
    try:
        return remote.start(min(_SAY_S, wait_s))
    except NoWorkers as err:
        if "versions" in err.fields:
            raise
    if wait_s > _SAY_S:
        say_no_worker(session, "a process is not started yet")
    try:
        return remote.start(max(0.0, deadline_s - time.monotonic()))
    except NoWorkers as err:
        if "versions" in err.fields:
            raise
        raise none_came(session, wait_s) from None


# -- on the way -----------------------------------------------------------------------------------


class _Surroundings:
    """What a Process finds around it as its parent has it; put in place where it is opened."""

    def __init__(self, process: Process, session: Session) -> None:
        key = bytes(process.authkey)
        self._facts = {
            "argv": list(sys.argv),
            "authkey": None if key == session.key else key,
            "log_level": None if _util._logger is None else _util._logger.getEffectiveLevel(),
            "log_to_stderr": _util._log_to_stderr,
            "start_method": process._method or default_context.get_start_method(allow_none=True),
            "shipped": _shipped_by(session),
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return _settle_in, (self._facts,)


def _settle_in(facts: dict[str, Any]) -> None:
    """Be as the parent was. Source: multiprocessing.spawn.prepare."""
    sys.argv = facts["argv"]
    if facts["authkey"] is not None:
        current_process().authkey = facts["authkey"]
    default_context.set_start_method(facts["start_method"], force=True)
    if facts["log_level"] is not None:
        _util.get_logger().setLevel(facts["log_level"])
    if facts["log_to_stderr"]:
        _util.log_to_stderr()
    if facts["shipped"]:
        _offer(facts["shipped"])


_brought: Final[list[Any]] = []
"""Modules that came along with this Process: Processes that it starts need them, too."""


def _shipped_by(session: Session) -> list[Any]:
    ship = sys.modules.get("mpclient.ship")
    return [*_brought, *(ship.shipped_now(session) if ship is not None else ())]


def _offer(shipped: list[Any]) -> None:
    """Have Python find the modules that came along.

    Raises:
        ImportError: One of them has the name of a module that every Process needs.
    """
    from mpclient.values.jobs_format import Shipped  # noqa: PLC0415 - only for what is shipped
    from mpclient.worker.jobs.shipped import Finder  # noqa: PLC0415 - as above

    _brought.extend(shipped)
    sources = {module: (source, path) for module, _, source, path in shipped}
    modules = [Shipped(module, module, is_package) for module, is_package, _, _ in shipped]
    finder = Finder(sources.__getitem__, lambda: None)
    verdict, name = finder.judge(modules)
    if verdict != "good":
        raise ImportError(f"the module {name} was shipped, and Processes have one of that name themselves")
    finder.install()
    finder.offer(modules)


def _pack(process: Process, session: Session) -> Blob:
    """Return what the Process is given where it runs."""
    surroundings, config = _Surroundings(process, session), process._config
    process._config = {key: value for key, value in config.items() if key not in _LEFT_BEHIND}
    parts = ((f"process.{name.removeprefix('_')}", part) for name, part in vars(process).items())
    try:
        return pickled((surroundings, process), parts, session)
    finally:
        process._config = config


def unpack(blob: Blob, session: Session) -> Process:
    """Return the Process that `_pack` was given, ready to run in this process."""
    process: Process = loads(blob, session)[1]
    process._config = {**_standard.current_process()._config, **process._config}
    return process


# -- of one cluster -------------------------------------------------------------------------------


def kind_for(method: str) -> type[Process]:
    """Return the class of Processes of a start method."""
    return next(kind for kind in _KINDS.values() if kind._method == method)


def bound_to(cluster: Cluster, kind: type[Process] = Process) -> type[Process]:
    """Return the class whose processes run on `cluster`. Where they are, its subclasses have `kind`."""
    names = {"_cluster": cluster, "_travels_as": (_unbound, (kind.__name__,)), "__doc__": kind.__doc__}
    return type(kind.__name__, (kind,), {**names, "__module__": __name__, "__qualname__": kind.__name__})


def _unbound(name: str) -> type[Process]:
    return _KINDS[name]


# -- the program's end ----------------------------------------------------------------------------


def _children_of(session: Session | None) -> list[Process]:
    """Return the Processes that this process has started at a server (None: at any) and not joined."""
    return [
        child
        for child in list(_standard._children)
        if isinstance(child, Process)
        and child._parent_pid == os.getpid()  # a fork has a copy of its parent's list
        and child._popen is not None
        and session in {None, child._popen.session}
    ]


def _interrupt(child: Process) -> None:
    if child._popen is not None:
        child._popen.interrupt()


def _discard(child: Process) -> None:
    _standard._children.discard(child)


def finish(session: Session, *, interrupted: bool) -> None:
    """End the Processes of a session that is about to be closed, as a program's end does."""
    children = _children_of(session)
    try:
        for child in children:
            if interrupted:
                _interrupt(child)
            if child.daemon:
                child.terminate()
        for child in children:
            child.join()
    except ServerGone:
        for child in children:
            _discard(child)


class _Ending:
    """Has the standard library join Processes at the program's end, before sessions are closed."""

    def arrange(self) -> None:
        """Put its exit handler in front of all others, and ours before it: the last one is called first."""
        for handler in (_util._exit_function, self._before):
            atexit.unregister(handler)
            atexit.register(handler)

    def _before(self) -> None:
        """Interrupt Processes if the program was, and forget those that nobody can be asked about."""
        interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
        for child in _children_of(None):
            try:
                if child.exitcode is None and interrupted:
                    _interrupt(child)
            except MpserveError:
                _discard(child)


_ending: Final = _Ending()
