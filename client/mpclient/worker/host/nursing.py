"""The Processes of a worker host, as its supervisor sees them: orders to the nursery, news to the server.

    start_process --> ORDERED --born--> BORN --ended--> the server is told
                         |                '--- dismissed: SIGTERM, `KILL_S`, SIGKILL
                         '--refused, nursery dead--> the server places it elsewhere

RULES
* The nursery is started when the worker processes are at work, or at the first order; when it died, when the
  next one is at work, or at the next order.
* It is never waited for, but for a birth, and then for seconds at most; one that let these pass gives birth
  again once it has answered.
* There are never more Processes than `--max-spawned` leaves room for; what cannot be started is refused at
  once, so that another host is tried.
* When the server is lost, or when it has another session for this supervisor, nobody can join them any more:
  they are dismissed.
"""

from __future__ import annotations

import selectors
import signal
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from mpclient.worker.descriptors import NAMES
from mpclient.worker.host.orders import Orders
from mpclient.worker.interpreter import Interpreter, send_signal
from mpclient.worker.orphans import adopt_all, begun, forget_strangers
from mpclient.worker.reports import Exit, ended_report

if TYPE_CHECKING:
    import socket

    from mpclient.worker.channel import Channel
    from mpclient.worker.options import Options
    from mpshared.log import Logger

__all__ = ["KILL_S", "Bears", "Nursing", "Tells"]

Bears: TypeAlias = "Callable[[Channel, socket.socket, Sequence[int]], int]"
"""Has a worker process made, given our end of its socket pair, its end, which is closed, and its other
descriptors; returns its pid, or raises OSError."""

KILL_S: Final = 2.0
"""How long a dismissed Process may take after SIGTERM."""
_END_S: Final = 2.0
_KILLED: Final = -signal.SIGKILL


class Tells(Protocol):
    """The link, as far as Processes are concerned. All of it without waiting."""

    def refuse(self, process: str, why: str) -> None:
        """Have the server told that a Process cannot be started here."""

    def bring(self, program: str, stream: int, data: bytes) -> bool:
        """Have a program print something ahead of news that come later; False: it cannot be brought."""

    def tell_end(self, process: str, session: str, exitcode: int, report: dict[str, Any]) -> None:
        """Have the server told how a Process ended."""


@dataclass(slots=True)
class _Process:
    """One that was ordered, and has not ended."""

    name: str
    pid: int = 0
    session: str = ""


class _NurseryProcess(Interpreter):
    """The nursery, running. What all Processes write is its output."""

    def __init__(self, options: Options) -> None:
        super().__init__(options, "mpclient.worker.nursery")
        self.ready = False
        """Whether it has loaded what its forks need, and has not been found silent since."""
        self.channel.set_blocking(False)
        self.orders = Orders(self.channel)
        self.orders.give("begin", given=options.for_spawned(), fork=options.fork)

    def close(self) -> None:
        """Have it kill all Processes and end, and wait for it."""
        self.channel.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        super().close()


class Nursing:
    """See the file's beginning.

    Args:
        options: What to do.
        tells: Where news go.
        selector: Where its descriptors are watched; the data of a key is what to call.
        log: Returns the log.
        changed: Is called when `sessions` may have changed.
    """

    def __init__(
        self,
        options: Options,
        tells: Tells,
        selector: selectors.BaseSelector,
        log: Callable[[], Logger],
        changed: Callable[[], None],
    ) -> None:
        self._options = options
        self._tells = tells
        self._selector = selector
        self._log = log
        self._changed = changed
        self._nursery: _NurseryProcess | None = None
        self._adopts = options.fork and adopt_all()
        self._processes: dict[str, _Process] = {}

    @property
    def count(self) -> int:
        """How many Processes there are, those included that are being started."""
        return len(self._processes)

    @property
    def sessions(self) -> list[str]:
        """The sessions of those that have one."""
        return [process.session for process in self._processes.values() if process.session]

    @property
    def pid(self) -> int:
        """The nursery's process, 0 for none."""
        return 0 if self._nursery is None else self._nursery.pid

    @property
    def bears(self) -> Bears | None:
        """What orders a worker process from the nursery; None: it cannot have any."""
        nursery = self._nursery
        able = nursery is not None and nursery.ready and not nursery.orders and self._adopts
        return self._bear if able else None

    def _bear(self, ours: Channel, theirs: socket.socket, give: Sequence[int]) -> int:
        nursery = self._nursery
        assert nursery is not None
        nursery.orders.hand_over([theirs.fileno(), *give], "worker")
        theirs.close()  # or we would not hear that the nursery has died with it
        try:
            return begun(ours, nursery.channel, self._hear)
        except TimeoutError:
            nursery.ready = False  # who waits for it once more hears nothing else meanwhile
            self._order("answer")
            raise

    def forget_strangers(self, known: set[int]) -> None:
        """Wait for orphans that have ended and are nobody's; the pids of all others are known."""
        if self._adopts:
            forget_strangers({*known, self.pid})

    # -- the nursery -----------------------------------------------------------------------------

    def warm(self) -> None:
        """Start the nursery, if there is none.

        Raises:
            OSError: It cannot be started.
        """
        if self._nursery is not None:
            return
        nursery = self._nursery = _NurseryProcess(self._options)
        self._selector.register(nursery.channel, selectors.EVENT_READ, self._hear)
        self._send_orders(nursery)
        for reading in nursery.streams:
            self._selector.register(reading, selectors.EVENT_READ, partial(self._read, nursery, reading))

    def _hear(self) -> None:
        assert self._nursery is not None
        self._send_orders(self._nursery)
        messages = self._nursery.channel.receive()
        for message in messages or ():
            if message["kind"] == "ready":
                self._nursery.ready = True
                continue
            if message["kind"] == "wrote":
                self._bring(message["program"], message["stream"], message["data"])
                continue
            process = self._processes.get(message["process"])
            if process is not None:
                _ON_NEWS[message["kind"]](self, message["process"], process, message)
        self._changed()
        if messages is None:
            self._lost_nursery()

    def _lost_nursery(self) -> None:
        """End what was in a nursery that died: on Linux the kernel has done so already."""
        pids = [process.pid for process in self._processes.values() if process.pid]
        self._log().error("worker.nursery_died", pid=self.pid, processes=len(self._processes))
        self._close_nursery()
        for pid in pids:
            send_signal(pid, signal.SIGKILL)
        for ident, process in list(self._processes.items()):
            del self._processes[ident]
            report = {"reason": "killed: the nursery it came from had died"}
            self._tells.tell_end(ident, process.session, _KILLED, report)

    def _close_nursery(self) -> None:
        nursery, self._nursery = self._nursery, None
        if nursery is not None:
            for descriptor in (nursery.channel.fileno(), *nursery.streams):
                if descriptor in self._selector.get_map():
                    self._selector.unregister(descriptor)
            nursery.close()

    def _read(self, nursery: _NurseryProcess, reading: int) -> None:
        """Log what the nursery writes, and Processes that no program is known of."""
        printed = nursery.read(reading)
        if printed is None:
            self._selector.unregister(reading)
            name, lines = nursery.streams[reading]
            printed = [(name, line) for line in lines.finish()]
        self._log_output(printed)

    def _bring(self, program: str, stream: int, data: bytes) -> None:
        """Send home what a Process did not send itself; or log it."""
        if not (program and self._tells.bring(program, stream, data)):
            lines = data.decode("utf-8", "backslashreplace").splitlines()
            self._log_output([(NAMES[stream], line) for line in lines])

    def _log_output(self, printed: Iterable[tuple[str, str]]) -> None:
        worker = f"{self._options.name}/processes"
        for stream, line in printed:
            self._log().info("worker.output", worker=worker, stream=stream, line=line)

    # -- orders ----------------------------------------------------------------------------------

    def start(self, ident: str, name: str, supervisor: str, *, others: int) -> None:
        """Start a Process, or refuse it.

        Args:
            ident: The object at the server.
            name: Its name.
            supervisor: Session of this supervisor.
            others: How many processes use up `--max-spawned` besides Processes.
        """
        if ident in self._processes:
            return  # a server that was restarted cannot know that it had said so before
        if self.count + others >= self._options.max_spawned:
            self._refuse(ident, f"it runs {self.count + others} processes, as many as --max-spawned allows")
            return
        try:
            self.warm()
        except OSError as err:
            self._refuse(ident, f"its nursery cannot be started: {err}")
            return
        self._processes[ident] = _Process(name)
        more = self.count + others < self._options.max_spawned
        self._order("start", process=ident, name=name, supervisor=supervisor, more=more)

    def _refuse(self, ident: str, why: str) -> None:
        self._log().warning("process.refused", process=ident, why=why)
        self._tells.refuse(ident, why)

    def signal(self, ident: str, number: int) -> None:
        """Send a signal to a Process."""
        if ident in self._processes:
            self._order("signal", process=ident, number=number)

    def dismiss(self, ident: str) -> None:
        """End a Process that nobody can join any more."""
        if ident in self._processes:
            self._order("dismiss", process=ident, kill_s=KILL_S)

    def dismiss_all(self) -> None:
        """End all of them."""
        for ident in self._processes:
            self.dismiss(ident)

    def _order(self, kind: str, **fields: Any) -> None:
        if self._nursery is not None:
            self._nursery.orders.give(kind, **fields)
            self._send_orders(self._nursery)

    def _send_orders(self, nursery: _NurseryProcess) -> None:
        """Send what the nursery takes now, and look after the rest once it takes more."""
        nursery.orders.send()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if nursery.orders else 0)
        self._selector.modify(nursery.channel, events, self._hear)

    def close(self) -> None:
        """Kill all of them, and the nursery."""
        self._close_nursery()
        self._processes.clear()

    # -- news ------------------------------------------------------------------------------------

    def _was_born(self, _ident: str, process: _Process, news: dict[str, Any]) -> None:
        process.pid = news["pid"]

    def _has_session(self, _ident: str, process: _Process, news: dict[str, Any]) -> None:
        process.session = news["session"]

    def _was_refused(self, ident: str, _process: _Process, news: dict[str, Any]) -> None:
        del self._processes[ident]
        self._refuse(ident, news["why"])

    def _has_ended(self, ident: str, process: _Process, news: dict[str, Any]) -> None:
        del self._processes[ident]
        ended = Exit(news["code"], news["peak"])
        if ended.code < 0:
            about = {"name": process.name, "pid": process.pid, "how": ended.text}
            self._log().info("process.killed", process=ident, **about)
        self._tells.tell_end(ident, process.session, ended.code, ended_report(ended))


_ON_NEWS: Final[dict[str, Callable[[Nursing, str, _Process, dict[str, Any]], None]]] = {
    "born": Nursing._was_born,  # noqa: SLF001 - its own table
    "session": Nursing._has_session,  # noqa: SLF001
    "refused": Nursing._was_refused,  # noqa: SLF001
    "ended": Nursing._has_ended,  # noqa: SLF001
}
