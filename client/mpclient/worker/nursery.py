"""The nursery: a process that starts Processes, ``python -m mpclient.worker.nursery FD``.

It has loaded what a Process needs and nothing else, has one thread and no connection to the server: so it can
be forked safely, and a fork is there in milliseconds. Worker processes that replace others are born here, too
(`orphans`). Where forking is not safe (outside Linux) it executes a fresh interpreter instead.

| from       | message                         | meaning                                                   |
|------------|---------------------------------|-----------------------------------------------------------|
| supervisor | `begin`, given, fork            | the first message: what each Process is told              |
| supervisor | `start`, process, name, supervisor, more | start one; whether there may be another one, too |
| supervisor | `signal`, process, number       | send it a signal                                          |
| supervisor | `dismiss`, process, kill_s      | SIGTERM now, SIGKILL after `kill_s` seconds               |
| supervisor | `worker`, with descriptors      | start a worker process, see `orphans`                     |
| supervisor | `answer`                        | say that you are `ready`: you were silent for long        |
| nursery    | `ready`                         | it forks, and has loaded what is needed                   |
| nursery    | `born`, process, pid            | it is there                                               |
| nursery    | `session`, process, session     | it has this session                                       |
| nursery    | `wrote`, process, program, stream, data | it wrote this past its streams and did not read it |
| nursery    | `refused`, process, why         | it could not be started, or never had its payload         |
| nursery    | `ended`, process, code, peak    | exit code as in `subprocess`; peak of its memory, bytes   |

RULES
* When the supervisor is gone, all are killed. When the nursery is killed, the kernel kills them (Linux), or
  the supervisor does.
* Each has one end of a socket pair: it tells its session there, and its end tells it that its program is gone
  (`parent_process()`).
* Each has pipes for its descriptors 1 and 2, which it reads itself; what is left in them at its end, and what
  programs write that it has left behind, is passed on from here.
* They are waited for here, by whoever started them; so a signal never meets a stranger with the same pid.
* While Processes are being started there is one in stock: it has a session, and waits to be told which one
  it is. When it cannot become one after all (its session is over, it was killed) a new one takes its place.
"""

from __future__ import annotations

import gc
import math
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any, Final, NoReturn

from mpclient.worker import kernel, newborn, orphans
from mpclient.worker.channel import Channel
from mpclient.worker.descriptors import LOOK_S, Pieces, Pipes
from mpclient.worker.interpreter import execute, kill, send_signal
from mpclient.worker.process import live
from mpclient.worker.reports import Exit
from mpclient.worker.signals import do_nothing
from mpclient.worker.traces import Traces

__all__ = ["Nursery", "main"]

_STOCK_S: Final = 3.0
"""How long after the last start one is kept in stock."""
_LEAVE_S: Final = 2.0
"""How long one that is not needed may take to say goodbye."""
_MOST_LEFT: Final = 64
"""How many Processes that have ended are listened to for what they have left behind."""


class _Born:
    """A Process that lives, or is in stock.

    Raises:
        OSError: Too many files are open.
    """

    def __init__(self, supervisor: str, sock: socket.socket) -> None:
        self.supervisor = supervisor
        """The supervisor's session, which its own names."""
        self.process = ""
        """Which one it is; empty in stock."""
        self.order: dict[str, Any] | None = None
        """Which order to obey again if it never begins; None: none, or it was not in stock."""
        self.begun = False
        """It has told its session: its payload may be out."""
        self.pid = 0
        self.channel: Channel | None = Channel(sock)
        """None once its program is gone."""
        self.traces = Traces()
        self.kill_at_s: float | None = None
        self.refused = False
        """It said that it never had its payload."""


class Nursery:
    """See the file's beginning.

    Args:
        channel: To the supervisor.
        handed: Where descriptors are that came from there.
        given: What each Process is told; the rest comes with `start`.
        fork: Whether they are forks of this process.
    """

    def __init__(self, channel: Channel, handed: deque[int], given: dict[str, Any], *, fork: bool) -> None:
        self._channel = channel
        self._handed = handed
        self._given = given
        self._bear = self._fork if fork else self._execute
        self._born: dict[int, _Born] = {}
        """All that live, by pid."""
        self._known: dict[str, _Born] = {}
        """Those that are not in stock, by Process."""
        self._stock_until_s = math.inf
        """When what is in stock is not needed any more."""
        self._left: list[Pipes] = []
        """Those of Processes that have ended; what these have left behind still writes there."""
        self._selector = selectors.DefaultSelector()
        self._selector.register(channel, selectors.EVENT_READ, self._hear)
        self._ear, self._bell = socket.socketpair()
        for end in (self._ear, self._bell):
            end.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ, partial(self._ear.recv, 4096))
        signal.signal(signal.SIGCHLD, do_nothing)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor
        signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
        self._over = False
        if fork:
            channel.send("ready")

    def run(self) -> None:
        """Serve until the supervisor is gone."""
        self._obey(self._channel.early)
        while not self._over:
            for key, _ in self._selector.select(self._sleep_s()):
                key.data()
            self._reap()
            self._kill_due()
            if time.monotonic() >= self._stock_until_s:
                self._clear_stock()
            for born in self._born.values():
                self._pass_on(born.process, born.traces.mark.program(), born.traces.overdue())
        for born in self._born.values():
            kill(born.pid)

    def _sleep_s(self) -> float | None:
        if not self._born:
            return None
        due = [born.kill_at_s for born in self._born.values() if born.kill_at_s is not None]
        due.append(self._stock_until_s)
        return max(0.0, min([LOOK_S, *(at_s - time.monotonic() for at_s in due)]))

    # -- the supervisor --------------------------------------------------------------------------

    def _hear(self) -> None:
        messages = self._channel.receive()
        if messages is None:
            self._over = True
        else:
            self._obey(messages)

    def _obey(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            kind, process = message.pop("kind"), message.get("process", "")
            if kind == "worker":
                self._bear_worker()
            elif kind == "answer":
                self._channel.send("ready")
            elif kind == "start":
                self._start(process, message)
            elif (born := self._known.get(process)) is None:
                continue
            elif kind == "signal":
                send_signal(born.pid, message["number"])
            else:
                self._dismiss(born, message["kill_s"])

    def _dismiss(self, born: _Born, kill_s: float) -> None:
        if born.kill_at_s is None:
            born.order = None
            self._part(born)
            send_signal(born.pid, signal.SIGTERM)
            born.kill_at_s = time.monotonic() + kill_s

    def _kill_due(self) -> None:
        now_s = time.monotonic()
        for born in self._born.values():
            if born.kill_at_s is not None and born.kill_at_s <= now_s:
                born.kill_at_s = None
                kill(born.pid)

    # -- births ----------------------------------------------------------------------------------

    def _start(self, process: str, order: dict[str, Any]) -> None:
        """Start a Process: what is in stock, or a new one."""
        supervisor = order["supervisor"]
        born = next((one for one in self._stock() if one.supervisor == supervisor), None)
        if born is None:
            self._start_new(process, order)
        else:
            born.order = order
            self._name(born, process, order)

    def _start_new(self, process: str, order: dict[str, Any]) -> None:
        try:
            born = self._give_birth(order["supervisor"])
        except OSError as err:
            self._channel.send("refused", process=process, why=f"it cannot be started: {err}")
        else:
            self._name(born, process, order)

    def _name(self, born: _Born, process: str, order: dict[str, Any]) -> None:
        """Tell one which Process it is."""
        born.process = process
        self._known[process] = born
        if born.channel is not None:
            born.channel.send("start", process=process, name=order["name"])
        self._channel.send("born", process=process, pid=born.pid)
        if order["more"]:
            self._fill_stock(born.supervisor)

    def _stock(self) -> list[_Born]:
        """Return those that wait to be told which Process they are."""
        return [born for born in self._born.values() if not born.process and born.channel is not None]

    def _fill_stock(self, supervisor: str) -> None:
        self._stock_until_s = time.monotonic() + _STOCK_S
        if not self._stock():
            with suppress(OSError):
                self._give_birth(supervisor)

    def _clear_stock(self) -> None:
        self._stock_until_s = math.inf
        for born in self._stock():
            self._part(born)
            born.kill_at_s = time.monotonic() + _LEAVE_S

    def _give_birth(self, supervisor: str) -> _Born:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                born = _Born(supervisor, ours)
                self._begin(born, theirs)
            except BaseException:
                ours.close()
                raise
        self._born[born.pid] = born
        self._selector.register(ours, selectors.EVENT_READ, partial(self._listen, born))
        return born

    def _begin(self, born: _Born, theirs: socket.socket) -> None:
        given = {**self._given, "supervisor": born.supervisor, "traces": born.traces.ends}
        try:
            born.pid = self._bear(theirs, born, given)
        except BaseException:
            born.traces.close()
            raise
        finally:
            born.traces.given()

    def _fork(self, theirs: socket.socket, born: _Born, given: dict[str, Any]) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        try:
            kernel.ask(kernel.DIE_WITH_PARENT, int(signal.SIGKILL))
            if os.getppid() != parent:
                os._exit(1)
            self._leave_home(born)
            self._become(theirs, given)
        finally:
            os._exit(1)

    def _bear_worker(self) -> None:
        descriptors = list(self._handed)  # one message at a time brings some
        self._handed.clear()
        try:
            orphans.bear(descriptors)
        except orphans.Reborn:
            self._leave_home()
            raise
        except OSError:  # the supervisor sees it at the other end of the socket
            return

    def _leave_home(self, newest: _Born | None = None) -> None:
        """Make a fork independent of this process: whatever it kept open would hide the end of another."""
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for born in self._born.values():
            self._close(born)
            born.traces.close()
        for pipes in self._left:
            pipes.close()
        for end in (self._channel, self._ear, self._bell):
            end.close()
        for descriptor in self._handed:
            os.close(descriptor)
        if newest is not None and newest.channel is not None:
            newest.channel.close()

    def _become(self, theirs: socket.socket, given: dict[str, Any]) -> NoReturn:
        self._born.clear()
        self._known.clear()
        newborn.live(Channel(theirs), given)

    def _execute(self, theirs: socket.socket, born: _Born, given: dict[str, Any]) -> int:
        """Start a fresh interpreter, which reads what it is told from its socket."""
        process = execute("mpclient.worker.newborn", theirs, give=born.traces.ends)
        process.returncode = 0  # it is waited for by pid
        assert born.channel is not None
        born.channel.send("begin", **given)
        return process.pid

    # -- lives -----------------------------------------------------------------------------------

    def _listen(self, born: _Born) -> None:
        """Pass on what a Process says of itself."""
        messages = born.channel.receive() if born.channel is not None else None
        if messages is None:
            self._part(born)
            return
        for message in messages:
            kind = message.pop("kind")
            born.begun = born.begun or kind == "session"
            born.refused = born.refused or kind == "refused"
            if born.process and (born.order is None or kind == "session"):
                self._channel.send(kind, process=born.process, **message)

    def _part(self, born: _Born) -> None:
        """Close our end: it hears that its program is gone."""
        if born.channel is not None:
            self._selector.unregister(born.channel)
            self._close(born)

    def _close(self, born: _Born) -> None:
        channel, born.channel = born.channel, None
        if channel is not None:
            channel.close()

    def _reap(self) -> None:
        """Tell the ends of those that have ended. What they said last comes first."""
        for born in list(self._born.values()):
            pid, status, usage = os.wait4(born.pid, os.WNOHANG)
            if not pid:
                continue
            if born.channel is not None:
                self._listen(born)
                self._part(born)
            del self._born[pid]
            self._take_rest(born)
            if born.process:
                self._tell_end(born, Exit.from_wait(status, usage))

    def _tell_end(self, born: _Born, ended: Exit) -> None:
        """Tell the end of a Process; or have a new one take its place, if it was in stock and of no use."""
        del self._known[born.process]
        if born.order is not None and (born.refused or not born.begun):
            self._start_new(born.process, born.order)
        elif not born.refused:
            peak = ended.peak_memory_bytes
            self._channel.send("ended", process=born.process, code=ended.code, peak=peak)

    # -- what they write -------------------------------------------------------------------------

    def _pass_on(self, process: str, program: str, pieces: Pieces) -> None:
        for stream, data in pieces:
            self._channel.send("wrote", process=process, program=program, stream=stream, data=data)

    def _take_rest(self, born: _Born) -> None:
        """Pass on what is left in the pipes of one that has ended, and from now on what comes into them."""
        program, pipes = born.traces.mark.program(), born.traces.pipes
        self._pass_on(born.process, program, born.traces.rest())
        born.traces.mark.close()
        for reading in pipes.readings:
            listen = partial(self._listen_to_left, pipes, reading, born.process, program)
            self._selector.register(reading, selectors.EVENT_READ, listen)
        self._left.append(pipes)
        if len(self._left) > _MOST_LEFT:
            self._forget_left(self._left[0])

    def _forget_left(self, pipes: Pipes) -> None:
        for reading in pipes.readings:
            self._selector.unregister(reading)
            pipes.shut(reading)
        self._left.remove(pipes)

    def _listen_to_left(self, pipes: Pipes, reading: int, process: str, program: str) -> None:
        data = pipes.read(reading)
        if data:
            self._pass_on(process, program, [(pipes.stream_of(reading), data)])
        elif data is None:
            self._selector.unregister(reading)
            pipes.shut(reading)
            if not pipes.readings:
                self._forget_left(pipes)


def main() -> None:
    """Serve the supervisor at the other end of the descriptor."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    handed: deque[int] = deque()
    channel = Channel(socket.socket(fileno=descriptor), handed)
    begin = channel.receive_first()
    if begin is None:
        return
    newborn.load()
    kernel.find_prctl()
    gc.collect()
    gc.freeze()  # forks share this memory: no collection of theirs shall touch it
    try:
        Nursery(channel, handed, begin["given"], fork=begin["fork"]).run()
        return
    except orphans.Reborn as reborn:
        place = orphans.settle(reborn.descriptors)
    live(*place)


if __name__ == "__main__":
    main()
