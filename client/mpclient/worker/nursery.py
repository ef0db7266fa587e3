"""The nursery: a process that starts Processes, ``python -m mpclient.worker.nursery FD``.

It has loaded what a Process needs and nothing else, has one thread and no connection to the server: so it can
be forked safely, and a fork is there in milliseconds. Worker processes that replace others are born here, too
(`orphans`). Where forking is not safe (outside Linux) it executes a fresh interpreter instead.

| from       | message                         | meaning                                                   |
|------------|---------------------------------|-----------------------------------------------------------|
| supervisor | `begin`, given, fork            | the first message: what each Process is told              |
| supervisor | `start`, process, name, supervisor | start one                                              |
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
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from functools import partial
from typing import Any, Final, NoReturn

from mpclient.worker import kernel, newborn, orphans
from mpclient.worker.channel import Channel
from mpclient.worker.descriptors import LOOK_S, Pieces, Pipes
from mpclient.worker.interpreter import execute, kill
from mpclient.worker.process import live
from mpclient.worker.reports import Exit
from mpclient.worker.traces import Traces

__all__ = ["Nursery", "main"]

_MOST_LEFT: Final = 64
"""How many Processes that have ended are listened to for what they have left behind."""


class _Born:
    """A Process that lives.

    Raises:
        OSError: Too many files are open.
    """

    def __init__(self, process: str, sock: socket.socket) -> None:
        self.process = process
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
        self._born: dict[str, _Born] = {}
        self._left: list[Pipes] = []
        """Those of Processes that have ended; what these have left behind still writes there."""
        self._selector = selectors.DefaultSelector()
        self._selector.register(channel, selectors.EVENT_READ, self._hear)
        self._ear, self._bell = socket.socketpair()
        for end in (self._ear, self._bell):
            end.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ, partial(self._ear.recv, 4096))
        signal.signal(signal.SIGCHLD, _look_up)
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
            for born in self._born.values():
                self._pass_on(born.process, born.traces.mark.program(), born.traces.overdue())
        for born in self._born.values():
            kill(born.pid)

    def _sleep_s(self) -> float | None:
        due = [born.kill_at_s for born in self._born.values() if born.kill_at_s is not None]
        if not self._born:
            return None
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
            elif (born := self._born.get(process)) is None:
                continue
            elif kind == "signal":
                os.kill(born.pid, message["number"])
            else:
                self._dismiss(born, message["kill_s"])

    def _dismiss(self, born: _Born, kill_s: float) -> None:
        if born.kill_at_s is None:
            self._part(born)
            os.kill(born.pid, signal.SIGTERM)
            born.kill_at_s = time.monotonic() + kill_s

    def _kill_due(self) -> None:
        now_s = time.monotonic()
        for born in self._born.values():
            if born.kill_at_s is not None and born.kill_at_s <= now_s:
                born.kill_at_s = None
                kill(born.pid)

    # -- births ----------------------------------------------------------------------------------

    def _start(self, process: str, order: dict[str, Any]) -> None:
        try:
            born = self._give_birth(process, order)
        except OSError as err:
            self._channel.send("refused", process=process, why=f"it cannot be started: {err}")
            return
        self._born[process] = born
        assert born.channel is not None
        self._selector.register(born.channel, selectors.EVENT_READ, partial(self._listen, born))
        self._channel.send("born", process=process, pid=born.pid)

    def _give_birth(self, process: str, order: dict[str, Any]) -> _Born:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                born = _Born(process, ours)
                self._begin(born, theirs, order)
            except BaseException:
                ours.close()
                raise
        return born

    def _begin(self, born: _Born, theirs: socket.socket, order: dict[str, Any]) -> None:
        given = {**self._given, **order, "traces": born.traces.ends}
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
        newborn.live(theirs, given)

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
            born.refused = born.refused or message["kind"] == "refused"
            self._channel.send(message.pop("kind"), process=born.process, **message)

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
            del self._born[born.process]
            ended = Exit.from_wait(status, usage)
            self._take_rest(born)
            if not born.refused:
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


def _look_up(_number: int, _frame: object) -> None:
    """Do nothing: a handler, so that the wakeup descriptor is written."""


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
