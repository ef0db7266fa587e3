"""The supervisor: one thread that decides who works, is replaced, is stopped, and when all is over.

RULES
* It never imports users' code, and never waits for the server: `link` does, in threads, and posts events.
* Every death that was not by plan is reported to the server at once, so that the jobs run elsewhere; then
  the process is replaced, at once unless processes die as soon as they begin.
* When the server is lost, worker processes end by themselves after their current job; new ones are started
  under the new session when the server is back.
* A stop lets each process finish its current job. A second one lets it hand back even that. Whoever has not
  gone by then is killed.

The order of a turn: signals, what the link says, what worker processes say, who has ended, what is due.
Ends come after words: a process that said why it ends has not died.
"""

from __future__ import annotations

import os
import queue
import selectors
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mpclient.worker.channel import Why
from mpclient.worker.descriptors import NAMES
from mpclient.worker.host.child import Child
from mpclient.worker.host.lending import Lending, LentSlot
from mpclient.worker.host.link import (
    Away,
    Back,
    Command,
    Down,
    GaveUp,
    Link,
    LinkEvent,
    Refused,
    Unreachable,
    Up,
)
from mpclient.worker.host.memory import Memory
from mpclient.worker.host.nursing import Nursing
from mpclient.worker.host.slots import START_TRIES, Slot
from mpclient.worker.reports import died_report
from mpclient.worker.signals import SupervisorSignals
from mpshared.exit_codes import ExitCode
from mpshared.reports import out_of_memory

if TYPE_CHECKING:
    from mpclient.worker.descriptors import Pieces
    from mpclient.worker.options import Options
    from mpclient.worker.reports import Exit
    from mpshared.log import Logger

__all__ = ["Supervisor"]

_TURN_S: Final = 1.0
_QUIT_S: Final = 1.5
"""How long a process may take to hand back what it has when all must end at once."""
_END_S: Final = 5.0
"""How long a process that holds nothing any more may take to end: jobs leave threads and exit handlers."""
_START_S: Final = 60.0
_ANEW_S: Final = 1.0
_FOR_GOOD: Final = frozenset({Why.PILL, Why.SHUT})
_LEVELS: Final = frozenset({"debug", "info", "warning", "error"})


class Supervisor:
    """See the file's beginning.

    Args:
        options: What to do.
        log: Makes the logger, when the first line is written: that takes longer than starting a process.
    """

    def __init__(self, options: Options, log: Callable[[], Logger]) -> None:
        self._options = options
        self._make_log = log
        self._logger: Logger | None = None
        self._slots = [Slot(f"{options.name}/{number}") for number in range(1, options.processes + 1)]
        self._session: str | None = None
        """This supervisor's session; None while there is no server."""
        self._events: queue.SimpleQueue[LinkEvent] = queue.SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._signals = SupervisorSignals()
        self._link = Link(options, self._post)
        self._lending = Lending(options.name, options.max_spawned)
        self._nursing = Nursing(options, self._link, self._selector, lambda: self.log, self._answer_for_all)
        self._memory = Memory()
        self._said_ready = False
        self._stopping = False
        self._outcome = (ExitCode.OK, "")
        self._over = False

    @property
    def log(self) -> Logger:
        """The log of this worker host."""
        if self._logger is None:
            self._logger = self._make_log()
        return self._logger

    def run(self) -> tuple[ExitCode, str]:
        """Serve until it is over; return how the command ends, and a line for people if it ends badly."""
        with self._signals:
            self._selector.register(self._signals, selectors.EVENT_READ, self._signals.clear)
            if self._options.lifeline >= 0:
                self._selector.register(self._options.lifeline, selectors.EVENT_READ, self._lifeline_ended)
            self._link.start()
            try:
                while not self._over:
                    self._turn()
            finally:
                self._close()
        return self._outcome

    @property
    def _places(self) -> list[Slot]:
        return [*self._slots, *self._lending.slots]

    def _children(self) -> list[tuple[Slot, Child]]:
        """Return all worker processes there are, and their places."""
        return [(slot, slot.child) for slot in self._places if slot.child is not None]

    def _post(self, event: LinkEvent) -> None:
        """Take an event of the link; in a thread of its own."""
        self._events.put(event)
        self._signals.wake()

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._sleep_s()):
            if self._selector.get_map().get(key.fd) is key:  # an earlier one of this turn may have closed it
                key.data()
        self._obey()
        while not self._events.empty():
            event = self._events.get()
            _ON_LINK[type(event)](self, event)
        for slot, child in self._children():
            self._look_after(slot, child)
        self._nursing.forget_strangers({child.pid for _, child in self._children()})
        self._lending.tidy()
        self._start_due()
        self._look_for_the_end()

    def _sleep_s(self) -> float:
        """Return how long nothing is due."""
        due = [slot.due_at_s(stopping=self._stopping) for slot in self._places] if self._session else []
        due += [child.kill_at_s for _, child in self._children() if child.kill_at_s]
        due += [slot.until_s for slot in self._lending.slots if slot.until_s is not None]
        return max(0.0, min([_TURN_S, *(at_s - time.monotonic() for at_s in due)]))

    # -- stopping --------------------------------------------------------------------------------

    def _obey(self) -> None:
        """Do what stop signals ask for."""
        stops = self._signals.stops
        if len(stops) > 1:
            if self._outcome[0] is not ExitCode.INTERRUPTED:
                self._outcome = ExitCode.INTERRUPTED, ""
                self._end_all("quit", _QUIT_S, signal.Signals(stops[-1]).name)
                self._nursing.dismiss_all()
        elif stops and not self._stopping:
            self._end_all("stop", None, signal.Signals(stops[0]).name)

    def _end_all(self, how: str, within_s: float | None, why: str) -> None:
        self._stopping = True
        children = self._children()
        for slot, child in children:
            if not slot.is_lent or how == "quit":  # a job that waits for nested ones must be able to finish
                child.end(how, within_s)
        about = {"processes": len(children), "spawned": self._nursing.count}
        self.log.info("worker.stopping", why=why, how=how, **about)

    def _lifeline_ended(self) -> None:
        """End at once: the program that this was started for is gone, and with it who wanted the results."""
        self._selector.unregister(self._options.lifeline)
        self._stopping = True
        self._nursing.close()
        for _, child in self._children():
            child.kill()

    def _give_up(self, code: ExitCode, text: str) -> None:
        """End with an error, after the current jobs."""
        self._outcome = code, text
        self._stopping = True
        self._nursing.dismiss_all()
        for slot, child in self._children():
            if not slot.is_lent:
                child.end("stop")

    def _look_for_the_end(self) -> None:
        if self._children():
            return
        if self._stopping:
            self._over = not self._nursing.count
        elif all(slot.finished for slot in self._slots):
            if self._options.respawn:
                self._begin_anew()
            elif not self._nursing.count:
                self._over = True
            elif self._options.lifeline >= 0:  # a program of its own: its Processes may have jobs for them
                self._begin_anew(_ANEW_S)

    def _begin_anew(self, delay_s: float = 0.0) -> None:
        """Start fresh processes: pills stopped all, and another queue of that name may come."""
        for slot in self._slots:
            slot.begin_anew(delay_s)

    def _close(self) -> None:
        for _, child in self._children():
            child.kill()
            child.wait(block=True)
            self._forget(child)
        self._nursing.close()
        self._link.close()
        self._selector.close()

    # -- the link --------------------------------------------------------------------------------

    def _up(self, event: Up) -> None:
        if self._said_ready and self._session is None:
            self._back(Back())
        self._session = event.session
        for _, child in self._children():
            if child.supervisor != event.session:
                child.end("stop")  # it named another one as its supervisor's; its successor names this one

    def _away(self, event: Away) -> None:
        address, left_s = str(self._options.address), round(event.left_s, 2)
        self.log.warning("server.away", address=address, why=event.why, left_s=left_s)

    def _back(self, _event: Back) -> None:
        self.log.info("server.back", address=str(self._options.address))

    def _down(self, event: Down) -> None:
        self._session = None
        self._nursing.dismiss_all()
        self.log.warning("server.lost", address=str(self._options.address), why=event.why)

    def _unreachable(self, event: Unreachable) -> None:
        address, next_try_s = str(self._options.address), round(event.next_try_s, 2)
        self.log.warning("server.unreachable", address=address, why=event.why, next_try_s=next_try_s)

    def _gave_up(self, event: GaveUp) -> None:
        waited = f"no server within {self._options.connect_timeout_s:g} s"
        self._give_up(ExitCode.UNREACHABLE, f"{waited}: {event.why}. Start it there with `mpserve start`")

    def _refused(self, event: Refused) -> None:
        self._give_up(event.code, event.why)

    def _command(self, event: Command) -> None:
        """Do what the server wants."""
        match event.body:
            case {"command": "end_process", "session": str(session)}:
                self._end_worker(session, str(event.body.get("why") or "silent for too long"))
            case {
                "command": "interrupt_job",
                "session": str(session),
                "pool": str(pool),
                "number": int(number),
            }:
                self._interrupt(session, pool, number, str(event.body.get("why")))
            case {"command": "start_process", "process": str(ident), "name": str(name)}:
                self._start_process(ident, name)
            case {"command": "signal_process", "process": str(ident), "signal": int(number)}:
                self._nursing.signal(ident, number)
            case {"command": "dismiss_process", "process": str(ident)}:
                self._nursing.dismiss(ident)
            case _:
                self.log.warning("worker.unknown_command", command=repr(event.body))

    def _start_process(self, ident: str, name: str) -> None:
        """Start a program's Process beside the worker processes, if there is room."""
        if self._stopping or self._session is None:
            self._link.refuse(ident, "it is stopping")
        else:
            self._nursing.start(ident, name, self._session, others=len(self._lending.slots))

    def _interrupt(self, session: str, pool: str, number: int, why: str) -> None:
        """Have an exception raised in a job."""
        for slot, child in self._children():
            if child.session == session:
                self.log.info("job.interrupted", worker=slot.name, pid=child.pid, job=number, why=why)
                child.channel.send("interrupt", pool=pool, number=number, why=why)

    def _end_worker(self, session: str, why: str) -> None:
        """Kill a process that the server has given up: its jobs run elsewhere."""
        for slot, child in self._children():
            if child.session and child.session == session:
                child.given_up = why
                self.log.warning("worker.given_up", worker=slot.name, pid=child.pid, why=child.given_up)
                child.kill()

    # -- worker processes ------------------------------------------------------------------------

    def _start_due(self) -> None:
        if self._session is None:
            return
        now_s = time.monotonic()
        for slot in self._places:
            if slot.due_at_s(stopping=self._stopping) <= now_s:
                self._start(slot, self._session)

    def _start(self, slot: Slot, session: str) -> None:
        try:
            bears = self._nursing.bears
            child = Child(self._options, slot.name, session, bears, serves_queue=not slot.is_lent)
        except OSError as err:
            self._start_failed(slot, str(err), [])
            return
        slot.began(child)
        if slot.is_lent:
            self.log.info("worker.stand_in", worker=slot.name, pid=child.pid)
        child.kill_at_s = child.started_s + _START_S
        self._selector.register(child.channel, selectors.EVENT_READ, partial(self._hear, slot, child))
        for reading in child.streams:
            self._selector.register(reading, selectors.EVENT_READ, partial(self._read, slot, child, reading))
        if not self._said_ready:
            _ = self.log  # loaded while the process starts

    def _hear(self, slot: Slot, child: Child) -> None:
        messages = child.receive()
        if messages is None:
            self._selector.unregister(child.channel)
            return
        for message in messages:
            self._heed(slot, child, message)

    def _heed(self, slot: Slot, child: Child, message: dict[str, Any]) -> None:
        """Act on one message of a worker process."""
        kind = message["kind"]
        if kind == "session":
            child.session = message["session"]
            self._answer_for_all()
        elif kind == "ready":
            child.ready = True
            child.kill_at_s = None
            slot.came_to_work()
            self._say_ready()
        elif kind == "ended":
            child.why, child.text = message["why"], message["text"]
            child.kill_at_s = time.monotonic() + _END_S
        elif kind == "lend":
            self._lend(slot, child)
        elif kind == "unlend":
            self._lending.unlend(child)
        elif kind == "log" and message["level"] in _LEVELS:
            write = getattr(self.log, message["level"])
            write(message["event"], worker=slot.name, pid=child.pid, **message["fields"])

    def _lend(self, slot: Slot, child: Child) -> None:
        refusal = self._lending.lend(child, others=self._nursing.count)
        if refusal is not None:
            child.channel.send("cannot_lend", text=refusal)
            if not child.refused:  # it asks again and again
                self.log.warning("worker.cannot_lend", worker=slot.name, pid=child.pid, why=refusal)
        child.refused = refusal is not None

    def _answer_for_all(self) -> None:
        workers = [child.session for _, child in self._children() if child.session]
        self._link.answer_for([*workers, *self._nursing.sessions])

    def _say_ready(self) -> None:
        if not all(slot.has_worked for slot in self._slots):
            return
        self._warm_nursery()
        if self._said_ready:
            return
        self._said_ready = True
        options = self._options
        self.log.info(
            "worker.ready",
            name=options.name,
            processes=options.processes,
            pid=os.getpid(),
            address=str(options.address),
            queue=options.queue,
            python="{}.{}.{}".format(*sys.version_info),
        )

    def _warm_nursery(self) -> None:
        """Have what is started next find a nursery, also after one that died. Not earlier: worker processes
        come first.
        """
        if self._options.max_spawned and not self._stopping:
            try:
                self._nursing.warm()
            except OSError as err:
                self.log.warning("worker.no_nursery", why=str(err))

    def _read(self, slot: Slot, child: Child, reading: int) -> None:
        lines = child.read(reading)
        if lines is None:
            self._selector.unregister(reading)
            return
        self._log_output(slot, child, lines)

    def _log_output(self, slot: Slot, child: Child, lines: list[tuple[str, str]]) -> None:
        for stream, line in lines:
            self.log.info("worker.output", worker=slot.name, pid=child.pid, stream=stream, line=line)

    def _bring(self, slot: Slot, child: Child, pieces: Pieces) -> None:
        """Send home what a process has written past its streams and not read itself; or log it."""
        for stream, data in pieces:
            program = child.traces.mark.program()
            if not (program and self._link.bring(program, stream, data)):
                lines = data.decode("utf-8", "backslashreplace").splitlines()
                self._log_output(slot, child, [(NAMES[stream], line) for line in lines])

    # -- their ends ------------------------------------------------------------------------------

    def _look_after(self, slot: Slot, child: Child) -> None:
        ended = child.wait()
        if ended is None:
            self._bring(slot, child, child.traces.overdue())
            if child.kill_at_s is not None and time.monotonic() >= child.kill_at_s:
                child.kill_at_s = None
                child.kill()
            return
        for message in child.receive() or ():
            self._heed(slot, child, message)
        self._log_output(slot, child, child.drain())
        self._bring(slot, child, child.rest())
        self._forget(child)
        self._lending.unlend(child)
        self._ended(slot, child, ended)
        self._answer_for_all()

    def _forget(self, child: Child) -> None:
        for descriptor in (child.channel.fileno(), *child.streams):
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
        child.close()

    def _ended(self, slot: Slot, child: Child, ended: Exit) -> None:
        """Decide what becomes of a slot whose process is gone."""
        if child.why is None:
            self._died(slot, child, ended)
        elif child.why == Why.REFUSED:
            self._start_failed(slot, child.text, [])
        elif child.why in _FOR_GOOD:
            self.log.info("worker.stopped", worker=slot.name, pid=child.pid, why=child.why)
            slot.finish()
        else:
            told = self._session is None or not child.text  # why the server is lost was told
            text = {} if told else {"text": child.text}
            self.log.info("worker.ended", worker=slot.name, pid=child.pid, why=child.why, **text)
            slot.emptied(at_once=child.why != Why.LOST)

    def _died(self, slot: Slot, child: Child, ended: Exit) -> None:
        place, output = child.pool or self._options.queue, [*child.printed, *child.last]
        report = died_report(ended, output, place, child.job, self._memory.evidence())
        if child.session:
            self._link.report(child.session, report)
        if not child.ready and not self._stopping:
            self._start_failed(slot, ended.text, list(child.last))
            return
        if child.given_up:
            slot.emptied(at_once=True)
            return
        seen: dict[str, Any] = {"running": f"job {child.job} of {place}"} if child.job else {}
        seen["peak_memory_mib"] = round(ended.peak_memory_bytes / 2**20)
        if evidence := out_of_memory(report):
            seen["likely_out_of_memory"] = evidence
        self.log.warning("worker.died", worker=slot.name, pid=child.pid, how=ended.text, **seen)
        slot.emptied(at_once=False)

    def _start_failed(self, slot: Slot, why: str, output: list[str]) -> None:
        """Try again, unless it is of no use."""
        slot.failed_starts += 1
        slot.emptied(at_once=False)
        self.log.warning("worker.cannot_start", worker=slot.name, tries=slot.failed_starts, why=why)
        if slot.failed_starts < START_TRIES:
            return
        if isinstance(slot, LentSlot):
            self._lending.give_up(slot, f"no process for it can be started: {why}")
        elif not self._stopping:
            last = "".join(f"\n  | {line}" for line in output)
            text = f"worker process {slot.name} cannot be started, {START_TRIES} times in a row: {why}{last}"
            self._give_up(ExitCode.FAILED, text)


_ON_LINK: Final[dict[type, Callable[[Supervisor, Any], None]]] = {
    Up: Supervisor._up,  # noqa: SLF001 - its own table
    Away: Supervisor._away,  # noqa: SLF001
    Back: Supervisor._back,  # noqa: SLF001
    Down: Supervisor._down,  # noqa: SLF001
    Unreachable: Supervisor._unreachable,  # noqa: SLF001
    GaveUp: Supervisor._gave_up,  # noqa: SLF001
    Refused: Supervisor._refused,  # noqa: SLF001
    Command: Supervisor._command,  # noqa: SLF001
}
