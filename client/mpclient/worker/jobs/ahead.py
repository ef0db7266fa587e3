"""The batch ahead: the jobs that a worker process runs next, fetched while it runs others.

    main thread:  batch k ------------------ land --> batch k+1 -----------------
                     '-- ask: results of k-1   ^         '-- ask: results of k
    this thread:         '---- round trip -----'             '---- …

RULES
* Only where the server is far away (`pace.Distance`). On one machine an exchange is over before another
  thread had begun it.
* One batch at most, of the same pool as the one that runs, or of the recipe queue as that.
* It is asked for as late as it can be and still be here in time: others may want its jobs until then.
* This thread never waits for jobs, nor for room for results: those that are refused lie on the desk again,
  and the main thread's next exchange mends what can be mended.
* What was brought goes one way only: to the desk (`land`), or back (`take`, `close`).
* Its numbers are known here until it is on the desk or the server has it back: who ends while another thread
  waits in between names them too, and the server passes over what is not ours any more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from mpclient.worker.jobs.desk import NOTHING, Finished, Range
from mpshared.errors import MpserveError, NoRoom, ServerGone

if TYPE_CHECKING:
    from mpclient.worker.jobs.desk import Desk
    from mpclient.worker.jobs.exchange import Exchange, Tell
    from mpshared.wire.own.frames import Reply

__all__ = ["Ahead"]

T = TypeVar("T")


class _Wish(NamedTuple):
    """What the main thread asked for: results to be sent at once, up to `n` jobs to be fetched at `at_s`."""

    finished: Finished
    n: int
    at_s: float
    pool: str | None


_NONE: Final = _Wish(NOTHING, 0, 0.0, None)


class Ahead(threading.Thread):
    """See the file's beginning. It runs from the first `ask` on.

    Args:
        exchange: Makes the calls.
        desk: Where results lie that are refused.
        talking: Held during each call.
        attend: Called when there is a batch.
        tell: Writes to the log.
    """

    def __init__(
        self,
        exchange: Exchange,
        desk: Desk,
        talking: threading.Lock,
        attend: Callable[[], None],
        tell: Tell,
    ) -> None:
        super().__init__(name="mpserve-ahead", daemon=True)
        self._exchange = exchange
        self._desk = desk
        self._talking = talking
        self._attend = attend
        self._tell = tell
        self._turn = threading.Condition()
        """For all that follows."""
        self._wish = _NONE
        self._under_way = False
        self._batch: Reply | None = None
        self._brought: list[Range] = []
        """What came last, and may be neither on the desk nor handed back."""
        self._since_s = 0.0
        self._error: ServerGone | None = None
        self._closed = False
        self.took_s: float | None = None
        """How long the last round trip took, from when it was to begin; None: nothing was sent."""

    # -- from the main thread --------------------------------------------------------------------

    def ask(self, finished: Finished, n: int, at_s: float, pool: str | None) -> None:
        """Have results sent, and jobs fetched while others run.

        Args:
            finished: What is done; of the pool.
            n: At most so many jobs; 0: none.
            at_s: When to ask for them, monotonic; past: now.
            pool: Whose jobs run, None: the recipe queue's.
        """
        with self._turn:
            self.took_s = None
            self._wish = _Wish(finished, n, max(at_s, time.monotonic()), pool)
            if self._closed:
                self._withdraw()
            self._turn.notify_all()
        if self.ident is None:
            self.start()

    def land(self, receive: Callable[[Reply], T]) -> T | None:
        """Take what was brought, and return what `receive` makes of it; None: there is nothing.

        Waits for what is under way. What is not, is not asked for any more.

        Raises:
            ServerGone: The session is over.
        """
        with self._turn:
            self._withdraw()
            while self._under_way:
                self._turn.wait()
            if self._error is not None:
                raise self._error
            batch, self._batch = self._batch, None
            if batch is None:
                return None
            found = receive(batch)  # a stop may break this
            self._brought = []
            return found

    # -- from any thread -------------------------------------------------------------------------

    def take(self) -> list[Range]:
        """Take what was brought away, to hand it back; returns its numbers. Then call `forget`."""
        with self._turn:
            batch, self._batch = self._batch, None
            return [] if batch is None else self._brought

    def forget(self, ranges: list[Range]) -> None:
        """Forget what `take` returned: the server has it back, or has refused it."""
        with self._turn:
            if self._brought == ranges:  # else more came meanwhile
                self._brought = []

    def close(self, within_s: float | None = None) -> list[Range]:
        """Ask for nothing any more; take away what was brought, and wait for what is under way.

        Returns its numbers; also those of what another thread took, and has perhaps not handed back yet.
        """
        with self._turn:
            self._closed = True
            self._withdraw()
            self._turn.wait_for(lambda: not self._under_way, within_s)
            self._batch = None
            return self._brought

    @property
    def is_busy(self) -> bool:
        """Whether there is a batch, or may soon be."""
        return self._under_way or self._batch is not None

    @property
    def has_batch(self) -> bool:
        """Whether there is a batch."""
        return self._batch is not None

    def has_waited(self, seconds: float) -> bool:
        """Tell whether there is a batch that has been here for longer than this."""
        return self._batch is not None and time.monotonic() - self._since_s > seconds

    def _withdraw(self) -> None:
        """Forget a wish that nobody has begun with."""
        wish, self._wish = self._wish, _NONE
        self._desk.put_back(wish.finished)

    # -- the thread ------------------------------------------------------------------------------

    def run(self) -> None:
        """Do as the main thread wishes, until the process ends."""
        while True:
            self._fulfil(self._next_wish())

    def _next_wish(self) -> _Wish:
        """Wait until something is to be sent; returns that."""
        with self._turn:
            while True:
                wish = self._wish
                wait_s = wish.at_s - time.monotonic() if wish.n else None
                if wait_s is not None and wait_s <= 0:
                    self._wish = _NONE
                elif wish.finished.numbers:
                    self._wish = wish._replace(finished=NOTHING)
                    wish = wish._replace(n=0, at_s=time.monotonic())
                else:
                    self._turn.wait(wait_s)
                    continue
                self._under_way = True
                return wish

    def _fulfil(self, wish: _Wish) -> None:
        batch: Reply | None = None
        error: MpserveError | None = None
        try:
            with self._talking:
                batch = self._exchange.ahead(wish.finished, wish.n, wish.pool)
            if lost := batch.result[3]:
                self._tell("warning", "worker.jobs_not_ours", jobs=lost)
        except MpserveError as err:
            error = err
        finally:
            with self._turn:
                self._note(wish, batch, error)
                self._under_way = False
                self._turn.notify_all()
        self._attend()

    def _note(self, wish: _Wish, batch: Reply | None, error: MpserveError | None) -> None:
        self._since_s = time.monotonic()
        self.took_s = self._since_s - wish.at_s
        if batch is None:  # refused as a whole
            self._wish = _NONE
            self._desk.put_back(wish.finished)
            self._error = error if isinstance(error, ServerGone) else None
            self._closed |= isinstance(error, NoRoom)  # for this thread's connection: the main thread has one
        elif batch.result[0]:
            self._batch = batch
            self._brought = [(first, last) for first, last, _ in batch.result[0]]
