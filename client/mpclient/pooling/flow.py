"""A stream of jobs made from an iterable, lazily: it never runs further ahead than its window.

    iterable ──feed──► waiting ──sender──► server ──collector──► sink ──► who iterates
       ^                                                            |
       '------------------ room for more ---------------------------'

RULES
* What is made ahead is bounded in jobs and in bytes. A *bounded* flow also counts outcomes that nobody has
  taken yet, until its pool is closed.
* The iterable and the pickling run in one thread, which is the flow's own or that of a caller who waits
  anyway. They may block; nobody else waits for them.
* Or they run as a caller has so many jobs made, each time: *by hand*. Between these times a flow has nothing
  to do but what was made, and its pool may be closed; what the iterable raises is the caller's.
* An item that cannot be pickled fails alone. An exception of the iterable is the last outcome.
"""

from __future__ import annotations

import pickle
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from mpclient.pooling.outcomes import Failure
from mpclient.pooling.refusal import explained, roots_of
from mpclient.pooling.sources import MOST_BYTES, MOST_JOBS, Parcel
from mpclient.pooling.threads import NoThreads
from mpclient.values.jobs_format import ITEM, dump_items
from mpclient.values.pickling import PLAIN, SHORT, dumps, is_long, own_buffers
from mpshared.bunch import BUNCH_LEAST, Bunch, joined
from mpshared.values import PICKLE_PROTOCOL, size_bytes

if TYPE_CHECKING:
    from mpclient.jobs import Jobs
    from mpshared.values import Blob

__all__ = ["Flow", "Outlet", "Ready"]

WINDOW: Final = 8192
"""Jobs made ahead, where nobody asks for another number."""
_WINDOW_BYTES: Final = 256 << 20
"""Jobs made ahead have about this many bytes together, at most."""
_NO_BLOBS: Final = frozenset({Failure, Bunch})
_STEP: Final = 256
"""Between two looks at the window."""


class Ready(NamedTuple):
    """Jobs of one item each, whose items nobody has to wait for: many are pickled at once."""

    digest: str
    """Of their function."""
    items: Iterable[Any]


class Outlet(Protocol):
    """Where the outcomes of a flow go: a `MapResult`, the iterator of an `imap`."""

    def deliver(self, index: int, outcomes: Sequence[Any]) -> None:
        """Take the outcomes of some jobs in a row, the first of which is job `index`."""

    def finish(self, n: int) -> None:
        """Hear that there are `n` jobs, no more."""

    def fail(self, error: BaseException) -> None:
        """Hear that what was not delivered never will be, and why."""

    def taken(self) -> int:
        """Return how many outcomes the program has taken."""

    def forked(self, error: BaseException) -> None:
        """Be over with `error`: this is a forked child. Nobody is called back."""


class Flow:
    """The jobs of one `map` or `imap`.

    Args:
        jobs: Whose.
        outlet: Who gets the outcomes.
        made: The jobs (see `jobs_format`), lazily; or the items of jobs that are all there already.
        lent: What to give back when all of them are over (see `Functions.lend`).
        items: How many items each job has; for messages.
        window: Most jobs made ahead.
        bounded: Whether outcomes that nobody has taken count.
        by_hand: Whether its caller has the jobs made, as many as it wants (`make`).
    """

    def __init__(
        self,
        jobs: Jobs,
        outlet: Outlet,
        made: Iterable[tuple[Any, ...]] | Ready,
        *,
        lent: str | None = None,
        items: int = 1,
        window: int = WINDOW,
        bounded: bool = False,
        by_hand: bool = False,
    ) -> None:
        self._jobs = jobs
        self._outlet = outlet
        self._made: Iterator[tuple[Any, ...]] | Ready = made if isinstance(made, Ready) else iter(made)
        self._lent = lent
        self._items = items
        self._window = window
        self._bounded = bounded
        self._by_hand = by_hand
        self._making = by_hand
        """Whether jobs are being made by hand."""
        self._waiting: deque[Blob | Bunch | Failure] = deque()
        self._base = 0
        """Which job waits first."""
        self.rung = False
        self._offered = 0
        self._offered_bytes = 0
        self._settled = 0
        self._counting = threading.Lock()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()  # finalisers may ring it
        self.starved = False
        """Whether the feeding thread waits for room."""
        self._ended = False
        """Whether the iterable is not asked any more."""
        self._cancelled: BaseException | None = None
        """The outcome of what was not sent."""
        jobs.add(self)

    # -- feeding ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Feed in a thread of the flow's own."""
        try:
            threading.Thread(target=self._feed_alone, name="mpserve-feeder", daemon=True).start()
        except BaseException as err:
            self.end(err)
            self._jobs.flow_ended(self)
            if isinstance(err, RuntimeError):
                raise NoThreads(f"the jobs have no thread to be taken from: {err}") from err
            raise  # an interruption: nobody will ask for the outcomes

    def _feed_alone(self) -> None:
        try:
            self._feed()
        except BaseException as err:  # noqa: BLE001 - the iterable's: who iterates gets it
            self._offer(Failure(err))
        finally:
            self._finish()

    def feed(self) -> None:
        """Feed in the caller's thread, who waits for the results anyway; returns when all is offered."""
        try:
            self._feed()
        except Exception as err:  # noqa: BLE001 - as above
            self._offer(Failure(err))
        finally:
            self._finish()

    def make(self, n: int, check: Callable[[], None]) -> None:
        """Make up to `n` jobs by hand.

        Args:
            n: How many.
            check: Raises if there may be none any more, which only matters where there are some.

        Raises:
            Whatever the iterable raises, or `check`: no more are made then.
        """
        made = 0
        self._making = True
        try:
            for job in islice(self._made, n):
                check()
                if self._ended:
                    break
                self._jobs.add(self)
                self._offer(self._pickled(job))
                made += 1
        finally:
            self._making = False
            if made < n and not self._ended:
                self._finish()
            else:
                self._jobs.flow_ended(self)

    def _feed(self) -> None:
        source = self._made
        if isinstance(source, Ready):
            self._feed_rows(*source)
            return
        offer, pickled = self._offer, self._pickled
        while room := self._await_room():
            asked, made = min(room, _STEP), 0
            for job in islice(source, asked):
                if self._ended:
                    return
                offer(pickled(job))
                made += 1
            if made < asked:
                return

    def _feed_rows(self, digest: str, items: Iterable[Any]) -> None:
        """Feed what need not be waited for: many jobs at once."""
        source = iter(items)
        while room := self._await_room():
            asked = min(room, _STEP)
            row = [*islice(source, asked)]
            bunch = dump_items(digest, row) if len(row) >= BUNCH_LEAST else None
            if bunch is not None:
                self._offered_bytes += len(bunch.data)
                self._offer(bunch, len(row))
            else:
                for item in row:
                    self._offer(self._pickled((ITEM, digest, item)))
            if len(row) < asked:
                return

    def _pickled(self, job: Any) -> Blob | Failure:
        kind = type(job[2])
        if job[0] == ITEM and (kind in SHORT or (kind in PLAIN and not is_long(job[2]))):
            plain = pickle.dumps(job, PICKLE_PROTOCOL)
            self._offered_bytes += len(plain)
            return plain
        try:
            blob = dumps(job, self._jobs.session)
        except Exception as err:  # noqa: BLE001 - this item's failure, and no other's
            return Failure(explained(err, roots_of(job, self._offered * self._items), self._jobs.session))
        if type(blob) is bytes:
            self._offered_bytes += len(blob)
            return blob
        self._offered_bytes += size_bytes(blob)
        return own_buffers(blob)

    def _offer(self, made: Blob | Bunch | Failure, n: int = 1) -> None:
        self._waiting.append(made)
        self._offered += n
        if not self.rung:
            self._jobs.ring(self)

    def _finish(self) -> None:
        self._ended = True
        self._outlet.finish(self._offered)
        self._give_back()
        self._jobs.flow_ended(self)

    # -- the window ------------------------------------------------------------------------------

    def _await_room(self) -> int:
        """Return how many jobs may be made now; 0: none any more."""
        while not self._ended:
            if (room := self._room_now()) > 0:
                return room
            self.starved = True
            if self._room_now() <= 0 and not self._ended:  # looked at after that: nothing is missed
                self._bell.get()
            self.starved = False
        return 0

    def _room_now(self) -> int:
        offered = self._offered
        if not offered:
            return 1  # its size says how many more
        done = self._outlet.taken() if self._bounded else self._settled
        return self._window_now(offered) - (offered - done)

    def _window_now(self, offered: int) -> int:
        """Return how many jobs may be made ahead, by their number and by their size so far."""
        return min(self._window, max(2, _WINDOW_BYTES * offered // (self._offered_bytes + 1)))

    def look(self) -> int:
        """Let the feeding thread go on if there is room for a fair number of jobs.

        Returns:
            How many outcomes may be taken before it is worth another look.
        """
        if not self.starved:
            return 0
        missing = self._window_now(self._offered) // 4 - self._room_now()
        if missing < 0:
            self._wake()
        return max(0, missing)

    def close(self) -> None:
        """Hear that the pool was closed, or that nobody takes any more. For finalisers too: takes no lock."""
        self._bounded = False
        self._wake()

    def let_go(self) -> None:
        """Have no more made, and forget the iterable. For finalisers: the sender gives back what was lent."""
        self._made = iter(())
        if not self._ended:
            self._ended = True
            self._jobs.ring(self)

    def _wake(self) -> None:
        self.starved = False
        self._bell.put(None)

    # -- for the sender --------------------------------------------------------------------------

    @property
    def has_waiting(self) -> bool:
        """See `Source`."""
        return bool(self._waiting)

    @property
    def is_sent(self) -> bool:
        """Whether all there ever will be has been sent, or all that was made by hand. Under the lock."""
        return (self._ended or (self._by_hand and not self._making)) and not self._waiting

    def take(self) -> Parcel | None:
        """See `Source`. What could not be pickled is delivered when its turn comes."""
        if self._cancelled is not None:
            self._drop()
            return None
        waiting = self._waiting
        while waiting and type(waiting[0]) is Failure:
            self._base += 1
            self.deliver(self._base - 1, (waiting.popleft(),))
        blobs = self._take_rows() or self._take_singly()
        base, self._base = self._base, self._base + len(blobs)
        if self._ended:
            self._give_back()
        return Parcel(self, base, blobs) if blobs else None

    def _take_rows(self) -> Sequence[Blob]:
        waiting = self._waiting
        rows: list[Bunch] = []
        n = size = 0
        while waiting and type(waiting[0]) is Bunch and n < MOST_JOBS and size < MOST_BYTES:
            row: Bunch = waiting.popleft()  # type: ignore[assignment]
            rows.append(row)
            n += len(row)
            size += len(row.data)
        return joined(rows) if rows else ()

    def _take_singly(self) -> Sequence[Blob]:
        waiting = self._waiting
        blobs: list[Blob] = []
        size = 0
        while waiting and type(waiting[0]) not in _NO_BLOBS and len(blobs) < MOST_JOBS and size < MOST_BYTES:
            blob: Blob = waiting.popleft()  # type: ignore[assignment]
            blobs.append(blob)
            size += len(blob) if type(blob) is bytes else size_bytes(blob)
        return blobs

    # -- outcomes --------------------------------------------------------------------------------

    def deliver(self, index: int, outcomes: Sequence[Any]) -> None:
        """See `Sink`."""
        self._outlet.deliver(index, outcomes)
        with self._counting:
            self._settled += len(outcomes)
        if self._ended:
            self._give_back()
        self._fail_if_cancelled()
        self.look()

    def _give_back(self) -> None:
        with self._counting:
            lent = self._lent
            if lent is None or self._settled < self._offered:
                return
            self._lent = None
        self._jobs.give_back(lent)

    def cancel(self, error: BaseException) -> None:
        """Ask the iterable no more, and drop what waits; its outcome is `error`. For the sender.

        The outlet hears of it when what was sent has its outcomes: a job that runs still has a result.
        """
        self._ended = True
        self._cancelled = error
        self._drop()
        self._wake()

    def _drop(self) -> None:
        """Drop what waits in a cancelled flow. Somebody may be making one more meanwhile: that rings."""
        dropped = 0
        with suppress(IndexError):  # there is no more
            while True:
                made = self._waiting.popleft()
                dropped += len(made) if type(made) is Bunch else 1
        self._base += dropped
        with self._counting:
            self._settled += dropped
        self._fail_if_cancelled()
        self._give_back()

    def _fail_if_cancelled(self) -> None:
        if self._cancelled is not None and self._settled >= self._base:
            self._outlet.fail(self._cancelled)

    def end(self, error: BaseException) -> None:
        """End with the pool."""
        self._ended = True
        self._waiting.clear()
        self._outlet.fail(error)
        self._wake()

    def forked(self, error: BaseException) -> None:
        """Be over: this is a forked child."""
        self._counting = threading.Lock()
        self._ended = True
        self._waiting.clear()
        self._outlet.forked(error)
