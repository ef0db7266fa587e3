"""The event loop: one thread, one turn after another.

RULES
* A turn reads all ready peers first and writes afterwards: each peer gets its answers of a turn in one write.
* What must happen once for all that a turn has read is done at its end, by an `Ender`, before the writing. He
  may want more to be read before.
* Nothing that a handler does blocks. What must block runs elsewhere and comes back through
  `call_soon_threadsafe`. Only an `Ender` may take what a quick disk does.
* Whoever has deadlines is told first when the loop comes much too late (`stood`): the process was stopped, or
  its machine was. Peers could not be heard meanwhile.
* A handler that raises is our bug: it is logged and costs its own connection, never the server.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from mpserve.net.awake import Awake, Ready
from mpserve.net.poll import Poller, make_poller

__all__ = ["STOOD_S", "Clock", "Ender", "Handler", "Loop", "Timed"]

LONGEST_SLEEP_S = 3600.0
"""epoll takes milliseconds as a C int; an idle hour is as good as for ever."""
STOOD_S = 1.0
"""A busy machine lets nobody wait longer than that, or hardly."""


class Handler(Protocol):
    """Whoever owns a file descriptor of the loop."""

    def readable(self) -> None:
        """Read what is there."""

    def writable(self) -> None:
        """Write what is left."""

    def broken(self, error: Exception) -> None:
        """End: one of the two above raised `error`."""


class Timed(Protocol):
    """Whoever has deadlines."""

    def next_deadline_s(self) -> float | None:
        """Return when `advance` is due, monotonic seconds."""

    def advance(self, now_s: float) -> None:
        """Do what is due."""


class Ender(Protocol):
    """Whoever has something to do at the end of each turn."""

    def wants_more(self) -> bool:
        """Tell whether to read once more before, what has come meanwhile."""

    def end_turn(self) -> bool:
        """Do it; tell whether the next turn is due at once."""


Clock = Callable[[], float]


class Loop:
    """Wait, read, act, write."""

    def __init__(self, clock: Clock = time.monotonic, spin_s: float = 0.0) -> None:
        """Make a loop that stays awake for `spin_s` after each turn, where that has been worth it."""
        self.clock = clock
        self.timed: list[Timed] = []
        self._poller: Poller = make_poller()
        self._awake = Awake(self._poller.wait, spin_s)
        self._wait = self._awake.wait if spin_s else self._poller.wait
        self._handlers: list[Handler | None] = []
        """By descriptor."""
        self.dirty: dict[Handler, None] = {}
        """Who has something to write, in order."""
        self.laden: dict[Handler, None] = {}
        """Who has something large to write: after all others."""
        self.ender: Ender | None = None
        self.stood: Callable[[float, float], None] | None = None
        """Is told from when to when the loop did not run, although something was due."""
        self.trouble: Callable[[Exception], None] | None = None
        """Is told of exceptions that concern no descriptor; with None they end the loop."""
        self.starved: Callable[[], None] | None = None
        """Is told that there was no memory for what a handler does."""
        self._calls: deque[Callable[[], None]] = deque()
        self._hurries = False
        self._stopping = False
        self._waker, self._wakes = socket.socketpair()
        for end in (self._waker, self._wakes):
            end.setblocking(False)
        self._wakes_fd = self._wakes.fileno()
        self._write_bit = self._poller.write_bit
        self._poller.watch(self._wakes_fd)
        self._set_handler(self._wakes_fd, None)

    # -- descriptors -----------------------------------------------------------------------------

    def watch(self, fd: int, handler: Handler) -> None:
        """Begin to watch `fd` for its handler: whether there is something to read."""
        self._set_handler(fd, handler)
        self._poller.watch(fd)

    def _set_handler(self, fd: int, handler: Handler | None) -> None:
        handlers = self._handlers
        handlers.extend([None] * (fd + 1 - len(handlers)))
        handlers[fd] = handler

    def handlers(self) -> Iterator[Handler]:
        """Yield all whose descriptors are watched."""
        yield from (handler for handler in tuple(self._handlers) if handler is not None)

    def change(self, fd: int, interest: int) -> None:
        """Watch `fd` for something else."""
        self._poller.change(fd, interest)

    def note_sleeper(self, fd: int) -> None:
        """Note that who is at `fd` sleeps whenever it waits; see `Awake`."""
        self._awake.note(fd, sleeps=True)

    def handed_over(self) -> None:
        """Note that a lock has a new holder, for whom others wait; see `Awake`."""
        self._awake.handed_over()

    def forget(self, fd: int, handler: Handler) -> None:
        """Stop watching; before the descriptor is closed."""
        if 0 <= fd < len(self._handlers) and self._handlers[fd] is handler:
            self._handlers[fd] = None
            self._poller.forget(fd)
            self._awake.note(fd, sleeps=False)
        self.dirty.pop(handler, None)
        self.laden.pop(handler, None)

    def mark_dirty(self, handler: Handler) -> None:
        """Let `handler.writable` be called at the end of the turn."""
        self.dirty[handler] = None

    def mark_laden(self, handler: Handler) -> None:
        """Let `handler.writable` be called after those that are dirty: what it writes takes long."""
        self.laden[handler] = None

    # -- from elsewhere --------------------------------------------------------------------------

    @property
    def wakeup_fd(self) -> int:
        """A descriptor to write a byte to; for `signal.set_wakeup_fd`."""
        return self._waker.fileno()

    def call_soon_threadsafe(self, function: Callable[[], None]) -> None:
        """Run `function` in the loop's thread, soon."""
        self._calls.append(function)
        try:
            self._waker.send(b"\0")
        except OSError:
            return  # full: it will wake up anyway; closed: it has stopped

    def stop(self) -> None:
        """Leave `run` after this turn. Safe in a signal handler."""
        self._stopping = True

    # -- turns -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Turn until `stop`; at once where it was called before: a signal may come early."""
        while not self._stopping:
            self.turn(None)

    def turn(self, longest_s: float | None) -> None:
        """Do one turn; wait for `longest_s` at most."""
        deadline_s = self._deadline_s()
        self._act(self._wait(self._sleep_s(deadline_s, longest_s)))
        if deadline_s is not None and deadline_s <= (now_s := self.clock()):
            if now_s - deadline_s > STOOD_S and self.stood is not None:
                self._safely(self.stood, deadline_s, now_s)
            self._advance()
        if self.ender is not None:
            self._safely(self._end_turn, self.ender)
        if self.dirty or self.laden:
            self.write()

    def _act(self, ready: Ready) -> None:
        """Have what is ready read and written."""
        handlers = self._handlers
        for fd, event in ready:
            handler = handlers[fd]
            if handler is not None:
                try:
                    if event & self._write_bit:
                        handler.writable()
                    if event != self._write_bit:
                        handler.readable()
                except Exception as err:  # noqa: BLE001 - one peer's trouble must not become everybody's
                    self._broken(handler, err)
            elif fd == self._wakes_fd:
                self._woken()

    def _end_turn(self, ender: Ender) -> None:
        self._hurries = False
        if ender.wants_more():
            self._act(self._poller.wait(0.0))
        self._hurries = ender.end_turn()

    def write(self) -> None:
        """Let everybody write who has something to."""
        while writers := self.dirty or self.laden:
            if writers is self.dirty:
                self.dirty = {}
            else:
                self.laden = {}
            for handler in writers:
                try:
                    handler.writable()
                except Exception as err:  # noqa: BLE001 - as above
                    self._broken(handler, err)

    def _broken(self, handler: Handler, err: Exception) -> None:
        if isinstance(err, MemoryError) and self.starved is not None:
            self.starved()
        handler.broken(err)

    def _advance(self) -> None:
        now_s = self.clock()
        for timed in tuple(self.timed):  # some come and go
            deadline_s = timed.next_deadline_s()
            if deadline_s is not None and deadline_s <= now_s:
                self._safely(timed.advance, now_s)

    def _woken(self) -> None:
        try:
            while self._wakes.recv(4096):
                pass
        except BlockingIOError:
            pass
        while self._calls:
            self._safely(self._calls.popleft())

    def _safely(self, function: Callable[..., None], *args: object) -> None:
        try:
            function(*args)
        except Exception as err:
            if self.trouble is None:
                raise
            self.trouble(err)

    def _deadline_s(self) -> float | None:
        first_s: float | None = None
        for timed in self.timed:
            deadline_s = timed.next_deadline_s()
            if deadline_s is not None and (first_s is None or deadline_s < first_s):
                first_s = deadline_s
        return first_s

    def _sleep_s(self, deadline_s: float | None, longest_s: float | None) -> float:
        if self._calls or self.dirty or self.laden or self._hurries:
            return 0.0
        sleep_s = LONGEST_SLEEP_S if longest_s is None else longest_s
        if deadline_s is None:
            return sleep_s
        left_s = deadline_s - self.clock()
        return sleep_s if left_s > sleep_s else max(0.0, left_s)

    def close(self) -> None:
        """Free the descriptors of the loop itself."""
        self._poller.close()
        self._waker.close()
        self._wakes.close()
