"""The embedded cluster: a server and workers as child processes, for a program that is given no address.

RULES
* They listen on a Unix socket (loopback where there is none) in a folder that only this user can enter, under
  a key made for them alone. It lies there too: a shared object that reaches a child of the program opens.
* They end when this program does, kill -9 included: each holds the reading end of a pipe whose writing end
  only this process has. In a forked child that end is closed, so a child that lives on keeps nothing alive.
* They are a process group of their own: Ctrl-C in the terminal is for the program, which decides.
* Workers import what this program can: they look where its `sys.path` led when they were started.
* Workers that were stopped, all of them, by pills are started again: another queue's jobs may come.
* Every wait is bounded. What goes wrong is told with the last lines that the child wrote.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mpclient.cluster import Cluster
from mpclient.importing import is_importable
from mpclient.session import Describes, Session
from mpclient.transport.living import Living
from mpclient.transport.term import SessionBase
from mpshared.address import Address, AddressError
from mpshared.errors import MpserveError, ServerGone
from mpshared.interpreters import module_command
from mpshared.keys import BESIDE_SOCKET
from mpshared.settings import WORKER_WAIT

__all__ = ["LocalCluster", "start_local", "worker_wait_s"]

_READY_S: Final = 60.0
"""A machine under load has taken more than 15 s."""
_STOP_S: Final = 3.0
_POLL_S: Final = 0.01
_SHOWN_BYTES: Final = 4000
_SHOWN_LINES: Final = 12
_PREFIX: Final = "mpserve-"
_QUICK_S: Final = 1.0
_QUICK_MOST: Final = 5
"""Workers that end at once, this often in a row, are not started again."""
_KEPT_SETTINGS: Final = frozenset(
    {"MPSERVE_WORKER_PROCESSES", "MPSERVE_MAX_SPAWNED", "MPSERVE_LOG_LEVEL", "MPSERVE_WORKER_WAIT"}
)


def start_local(name: str = "", local: LocalCluster | None = None, /, **limits: float) -> Cluster:
    """Start a server and workers of this program's own, and connect to them.

    Args:
        name: What `mpserve status` calls this program.
        local: These, not started yet; None: the usual ones.
        limits: As for `Session`.

    Raises:
        ServerGone: The server did not come up; the text ends with its last lines.
    """
    local = local or LocalCluster()
    local.start()
    try:
        local.session = session = Session(local.address, local.key, Describes(name=name), tls=None, **limits)
        session.start()
    except BaseException:
        local.stop()
        raise
    return Cluster(session, owns=local)


def worker_wait_s(session: Session) -> float:
    """Return how long a program waits for its first worker; its own are started, and may take their time."""
    if has_own_workers(session) and not os.environ.get(WORKER_WAIT.env):
        return _READY_S
    return WORKER_WAIT.read()


def has_own_workers(session: SessionBase) -> bool:
    """Tell whether a session's server is this program's own, with workers that run or are about to."""
    return any(local.address == session.address and local.has_workers for local in _running.all())


class LocalCluster:
    """The two child processes and the folder they meet in.

    Args:
        processes: Worker processes, 0 for no worker at all; None: as many as there are cores.
        queue: The recipe queue that the workers serve; None: the usual one.
        options: More options of `mpserve start`, as on its command line.
    """

    def __init__(
        self, *, processes: int | None = None, queue: str | None = None, options: tuple[str, ...] = ()
    ) -> None:
        self._processes = processes
        self._queue = queue
        self._options = options
        self._owner = os.getpid()
        self._folder: Path | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._stopping = threading.Event()
        self._changing = threading.Lock()
        self.session: Session | None = None
        """Closed before the children are stopped, so that they see the program leave in order."""
        self.address = Address()
        self.key = b""
        _running.add(self)

    # -- starting --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start server and workers; returns when the server takes calls. Where that fails all is stopped."""
        if sys.platform == "win32":
            raise ServerGone(
                "no server and no workers run on Windows, so this program cannot start its own; start both "
                "on Linux or macOS, and set MPSERVE_ADDRESS=host:port here"
            )
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        _sweep()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self.key = secrets.token_hex(32).encode()
        _write_private(self._folder / BESIDE_SOCKET, self.key)
        reading, self._lifeline = os.pipe()
        try:
            self._server = self._spawn("server", self._server_command(reading), reading)
            self._await_server()
            if self._processes != 0:
                self._start_worker(reading)
                self._watch(os.dup(reading))
        finally:
            os.close(reading)

    def _server_command(self, lifeline: int) -> list[str]:
        assert self._folder is not None
        listen = ["--host", "127.0.0.1", "--port", "0"]
        with suppress(AddressError):
            listen = ["--host", str(Address.unix(str(self._folder / "socket")))]
        return [
            *module_command("mpserve", "start", *listen, "--log-format", "json"),
            *("--lifeline", str(lifeline), *self._options),
        ]

    def _start_worker(self, lifeline: int) -> None:
        more: list[str] = [] if self._processes is None else ["--processes", str(self._processes)]
        if self._queue is not None:
            more += ["--queue", self._queue]
        for place in _import_places():
            more += ["--pythonpath", place]
        command = module_command("mpclient.worker", "--connect", str(self.address), *more)
        self._worker = self._spawn("worker", [*command, "--lifeline", str(lifeline)], lifeline)

    def _spawn(self, what: str, command: list[str], lifeline: int) -> subprocess.Popen[bytes]:
        assert self._folder is not None
        with (self._folder / f"{what}.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(self._folder / BESIDE_SOCKET),
                pass_fds=(lifeline,),
                start_new_session=True,
            )

    def _await_server(self) -> None:
        assert self._server is not None
        deadline_s = time.monotonic() + _READY_S
        while not self._find_address():
            if self._server.poll() is not None:
                raise ServerGone(
                    f"the embedded server ended: exit code {self._server.returncode}{self._tail('server')}"
                )
            if time.monotonic() > deadline_s:
                raise ServerGone(
                    f"the embedded server was not ready within {_READY_S:g} s{self._tail('server')}"
                )
            time.sleep(_POLL_S)

    def _find_address(self) -> bool:
        """Look for the server's ready line, which tells where it listens."""
        assert self._folder is not None
        import json  # noqa: PLC0415 - only here

        for line in (self._folder / "server.log").read_bytes().splitlines():
            if b'"server.ready"' in line:
                self.address = Address.parse(json.loads(line)["address"])
                return True
        return False

    @property
    def has_workers(self) -> bool:
        """Whether its workers run, or are about to."""
        return self._worker is not None and self._worker.poll() is None

    # -- watching --------------------------------------------------------------------------------

    def _watch(self, lifeline: int) -> None:
        thread = threading.Thread(
            target=self._keep_workers, args=(lifeline,), name="mpserve-local", daemon=True
        )
        thread.start()

    def _keep_workers(self, lifeline: int) -> None:
        """Start the workers again when all of them were stopped by pills."""
        quick = 0
        try:
            while (worker := self._worker) is not None:
                began_s = time.monotonic()
                code = worker.wait()
                quick = quick + 1 if time.monotonic() - began_s < _QUICK_S else 0
                with self._changing:
                    if self._stopping.is_set():
                        return
                    if code != 0 or quick > _QUICK_MOST:
                        self._complain(code)
                        return
                    self._start_worker(lifeline)
        finally:
            os.close(lifeline)

    def _complain(self, code: int) -> None:
        text = f"mpclient: the workers of this program ended with exit code {code}{self._tail('worker')}\n"
        with suppress(OSError, ValueError):
            sys.stderr.write(text)

    def _tail(self, what: str) -> str:
        """Return the last lines a child wrote, as the end of a message."""
        assert self._folder is not None
        try:
            data = (self._folder / f"{what}.log").read_bytes()[-_SHOWN_BYTES:]
        except OSError:
            return ""
        lines = data.decode("utf-8", "replace").splitlines()[-_SHOWN_LINES:]
        return "; its last lines:\n  " + "\n  ".join(lines) if lines else "; it wrote nothing"

    # -- stopping --------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop workers and server, and remove their folder. Takes a few seconds at most."""
        if os.getpid() != self._owner or self._stopping.is_set():
            return
        with self._changing:
            self._stopping.set()
        if self.session is not None:
            with suppress(MpserveError, ConnectionError):
                self.session.close()
        for child in (self._worker, self._server):
            if child is not None:
                _end(child)
        self._close_lifeline()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def disown(self) -> None:
        """Let go of the lifeline: this is a forked child, and the processes are its parent's."""
        self._close_lifeline()

    def _close_lifeline(self) -> None:
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is not None:
            os.close(lifeline)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End one child: ask, then insist."""
    child.terminate()
    try:
        child.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _import_places() -> list[str]:
    """Return where this program's modules come from, in its order; the current folder is '' there."""
    given: list[Any] = sys.path
    places = [place for place in given if isinstance(place, str)]  # imports pass over all else, too
    return [str(Path(place).absolute()) for place in places if not place or is_importable(place)]


def _environment(key_file: Path) -> Mapping[str, str]:
    """Return the children's environment: settings meant for another server are not for this one."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MPSERVE_") or k in _KEPT_SETTINGS}
    return {**kept, "MPSERVE_AUTHKEY_FILE": str(key_file)}


def _write_private(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(data)


def _sweep() -> None:
    """Remove the folders of this user's programs that were killed before they could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}[0-9]*-*"):
        with suppress(OSError, ValueError):
            pid = int(folder.name.removeprefix(_PREFIX).partition("-")[0])
            if folder.stat().st_uid == os.getuid() and not _is_alive(pid):
                shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


_running: Living[LocalCluster] = Living()


def _stop_all() -> None:
    for local in _running.all():
        local.stop()


def _disown_all() -> None:
    for local in _running.all():
        local.disown()


atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
