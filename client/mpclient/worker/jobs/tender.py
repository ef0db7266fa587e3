"""The tender: a thread beside the jobs that listens to the supervisor and relieves slow batches.

RULES
* It never waits for the server: what has to be told there is told by threads of its own.
* A batch that takes much longer than planned (one slow job among quick ones) is relieved: what is finished
  is sent, what was not begun is handed back for others, the batch ahead too. Only the job that runs stays.
* While a single job runs, or none, it sleeps until the supervisor says something: no wake-up, no
  contention.
* A job that has waited for jobs of its own (`mpclient.pooling.nested`) for a while has its slot lent. It is
  told when that cannot be and nobody else runs them (`stuck`).
* When the supervisor is gone, however that happened, this process stops as if it had been told to. This
  thread hears of it, but gets its turn late beside a busy main thread: that one looks itself (`is_orphaned`).
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mpclient.pooling import nested
from mpclient.worker.channel import Why
from mpclient.worker.jobs.ahead import Ahead
from mpclient.worker.jobs.desk import NOTHING
from mpclient.worker.jobs.stuck import Stuck
from mpclient.worker.signals import Breaker
from mpshared.errors import MpserveError

if TYPE_CHECKING:
    from mpclient.session import Session
    from mpclient.worker.channel import Channel
    from mpclient.worker.jobs.desk import Desk
    from mpclient.worker.jobs.exchange import Exchange, Tell

__all__ = ["Tender"]

_TICK_S: Final = 0.05
_NESTED_S: Final = 0.1
"""When a slot is lent: shorter waits than this are over before another process has started."""
_AGAIN_S: Final = 1.0
"""When it is asked for again if there was none."""
_IDLE_TICKS: Final = 3
_QUIT_S: Final = 1.0
"""How long a process that is to end at once waits for the answer that is on its way to it."""


class Tender(threading.Thread):
    """See the file's beginning. Made and started in the main thread."""

    def __init__(
        self, channel: Channel, session: Session, desk: Desk, exchange: Exchange, tell: Tell
    ) -> None:
        super().__init__(name="mpserve-tender", daemon=True)
        self._channel = channel
        self._session = session
        self._desk = desk
        self._exchange = exchange
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)
        self._asleep = False
        self._idle = 0
        self._relief: threading.Thread | None = None
        self._nested_since_s: float | None = None
        self._lends = False
        self._stuck = Stuck(session)
        self.stopping = False
        """Whether this process is to end after its current job."""
        self.breaker = Breaker(self._ask_stop)
        self.interruption: Callable[[str, int, str], BaseException | None] = _none
        """`PoolRunner.interruption`."""
        self.talking = threading.Lock()
        """Held by whoever moves results or jobs between desk and server."""
        self.ahead = Ahead(exchange, desk, self.talking, self.attend, tell)
        self._parent = os.getppid()
        nested.watch(self.attend)

    # -- from the main thread --------------------------------------------------------------------

    def is_orphaned(self) -> bool:
        """Look whether the supervisor is gone; from then on this process stops. Cost: a system call."""
        if os.getppid() != self._parent:
            self.stopping = True
            return True
        return False

    def attend(self) -> None:
        """Have the batch on the desk, or what its jobs wait for, watched."""
        if self._asleep:
            self._ring()

    def _ask_stop(self) -> None:
        self.stopping = True
        self._ring()

    def _ring(self) -> None:
        with suppress(OSError):  # full: it wakes anyway
            self._bell.send(b"\0")

    # -- the thread ------------------------------------------------------------------------------

    def run(self) -> None:
        """Listen and watch until the process ends."""
        poll = select.poll()
        poll.register(self._ear.fileno(), select.POLLIN)
        poll.register(self._channel.fileno(), select.POLLIN)
        self._heed(self._channel.early)
        while True:
            ready = dict(poll.poll(self._sleep_ms()))
            self._asleep = False
            if self._ear.fileno() in ready:
                self._ear.recv(4096)
                self._idle = 0  # what follows soon finds it awake: being woken costs more than ticking
            if self._channel.fileno() in ready and not self._hear():
                poll.unregister(self._channel.fileno())
            self._tend()

    def _sleep_ms(self) -> float | None:
        """Return how long to sleep; None: until somebody rings."""
        self._asleep = not self.stopping and self._idle >= _IDLE_TICKS
        if self._asleep and not self._is_needed():  # looked at after that: `attend` misses nothing
            return None
        self._asleep = False
        return _TICK_S * 1000

    def _is_needed(self) -> bool:
        return self._desk.to_tend or self.ahead.has_batch or nested.outstanding() > 0 or self._lends

    def _hear(self) -> bool:
        """Do what the supervisor says; False when it is gone."""
        messages = self._channel.receive()
        if messages is None:
            self.stopping = True
            return False
        self._heed(messages)
        return True

    def _heed(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            if message["kind"] == "cannot_lend":
                self._lends = False
                self._nested_since_s = time.monotonic() + _AGAIN_S - _NESTED_S
                self._stuck.heard(message["text"])
                continue
            if message["kind"] == "interrupt":
                self._interrupt(message)
                continue
            self.stopping = True
            self._channel.send("log", level="info", event="worker.finishing", fields={})
            if message["kind"] == "quit":
                threading.Thread(target=self._quit, daemon=True).start()

    def _tend(self) -> None:
        if self.stopping:
            self.breaker.break_call()
        self._lend()
        self._idle = 0 if self._is_needed() else self._idle + 1
        if self._desk.to_tend or self.ahead.has_batch:
            self._look_at_batch()

    def _lend(self) -> None:
        """Have the supervisor lend this slot while a job waits for jobs of its own, and no longer."""
        if not nested.outstanding() or self.breaker.is_entered:
            self._nested_since_s = None
            self._stuck.forget()
            if self._lends:
                self._lends = False
                self._channel.send("unlend")
        elif self._nested_since_s is None:
            self._nested_since_s = time.monotonic()
        elif not self._lends and time.monotonic() - self._nested_since_s >= _NESTED_S:
            self._lends = True
            self._channel.send("lend")

    def _look_at_batch(self) -> None:
        slow_s = self._exchange.distance.slow_s
        slow = self._desk.to_tend and time.monotonic() - self._desk.began_s > slow_s
        late = self.ahead.has_waited(slow_s)
        if (slow or late) and (self._relief is None or not self._relief.is_alive()):
            self._relief = threading.Thread(target=self._relieve, name="mpserve-relief", daemon=True)
            self._relief.start()

    def _interrupt(self, message: dict[str, Any]) -> None:
        """Have a job broken that is to end; if it has not begun, it goes back."""
        about = message["pool"], message["number"], message["why"]
        self.breaker.interrupt(partial(self.interruption, *about))
        if self._desk.to_tend or self.ahead.is_busy:
            threading.Thread(target=self._relieve, name="mpserve-relief", daemon=True).start()

    # -- threads of their own --------------------------------------------------------------------

    def _relieve(self) -> None:
        """Send what is finished, hand back what was not begun."""
        with suppress(MpserveError):  # the main thread hears the same, and decides
            self._exchange.knock()
            with self.talking:
                self._send_and_hand_back()

    def _send_and_hand_back(self) -> None:
        later = self.ahead.take()
        finished = NOTHING
        try:
            rest, pool = self._desk.clear(), self._desk.pool
            finished = self._desk.collect()
            self._exchange.deliver(finished)
            finished = NOTHING
            self._exchange.hand_back([*rest, *later], pool)
        finally:
            self._desk.put_back(finished)
            self.ahead.forget(later)  # who ends while this waits hands back all of it

    def _quit(self) -> None:
        """End at once, and leave nothing behind: what is not acknowledged goes back unharmed."""
        with suppress(MpserveError):
            later = self.ahead.close(_QUIT_S)
            self._exchange.hand_back([*self._desk.leased, *later], self._desk.pool)
            self._session.close()
        self._channel.send("ended", why=Why.STOPPED, text="")
        os._exit(0)


def _none(_pool: str, _number: int, _why: str) -> None:
    """Raise nothing: no jobs of pools are run here."""
