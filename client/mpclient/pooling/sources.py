"""Where a pool's sender finds jobs that wait to be sent.

RULES
* Who has jobs appends to `waiting` without a lock and rings; the sender alone takes from the other end.
* `rung` is lowered before the sender looks, so what is appended while it looks rings again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from mpshared.values import size_bytes

if TYPE_CHECKING:
    from mpclient.pooling.spans import Sink
    from mpshared.values import Blob

__all__ = [
    "DROPPED",
    "MOST_BYTES",
    "MOST_JOBS",
    "Parcel",
    "Singles",
    "Source",
    "Ticket",
    "Tickets",
]

MOST_JOBS: Final = 1024
MOST_BYTES: Final = 1 << 20
"""Jobs travel together up to this many and about this size, whichever is less."""


class Parcel(NamedTuple):
    """Jobs to send in one message; the first one is job `base` of its sink."""

    sink: Sink
    base: int
    blobs: Sequence[Blob]
    terms: Mapping[str, Any] | None = None
    """What a single job is asked to be run on, as `mpshared.terms` has it on the wire; None: it is plain."""

    def halves(self) -> tuple[Parcel, Parcel]:
        """Return it in two parts."""
        half = len(self.blobs) // 2
        first = Parcel(self.sink, self.base, self.blobs[:half])
        return first, Parcel(self.sink, self.base + half, self.blobs[half:])


class Source(Protocol):
    """Jobs that wait."""

    rung: bool
    """Whether the sender knows that there is something."""

    def take(self) -> Parcel | None:
        """Take what goes into the next message."""

    @property
    def has_waiting(self) -> bool:
        """Whether something waits to be sent."""


class Ticket(Protocol):
    """Who waits for one job: an `AsyncResult`, a `Future`."""

    number: int
    """The job's number once it is on its way; 0 before; `DROPPED`: it is not to be sent."""

    def settle(self, outcome: Any) -> None:
        """Take the outcome."""

    def forked(self, error: BaseException) -> None:
        """Be over with `error`: this is a forked child. Nobody is called back."""


DROPPED: Final = -1


class Singles:
    """The jobs that programs submit one by one, from any thread."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[Ticket, Blob, Mapping[str, Any] | None]] = deque()
        """Who waits, the job, its terms."""
        self.rung = False

    @property
    def has_waiting(self) -> bool:
        """See `Source`."""
        return bool(self.waiting)

    def take(self) -> Parcel | None:
        """See `Source`."""
        waiting = self.waiting
        tickets: list[Ticket] = []
        blobs: list[Blob] = []
        size = 0
        while waiting and len(blobs) < MOST_JOBS and size < MOST_BYTES:
            if waiting[0][2] is not None and blobs:
                break  # a job on terms travels alone
            ticket, blob, terms = waiting.popleft()
            if ticket.number == DROPPED:
                continue
            if terms is not None:
                return Parcel(Tickets([ticket]), 0, [blob], terms)
            tickets.append(ticket)
            blobs.append(blob)
            size += len(blob) if type(blob) is bytes else size_bytes(blob)
        return Parcel(Tickets(tickets), 0, blobs) if blobs else None

    def drop(self) -> list[Ticket]:
        """Drop all that waits; return who waits for it."""
        dropped: list[Ticket] = []
        with suppress(IndexError):  # one by one: the sender, or another end, may take from it, too
            while True:
                ticket = self.waiting.popleft()[0]
                if ticket.number != DROPPED:
                    dropped.append(ticket)
        return dropped


class Tickets:
    """The sink of a message of single jobs. Each ticket is given out once, whichever thread comes first."""

    __slots__ = ("_tickets",)

    def __init__(self, tickets: Sequence[Ticket]) -> None:
        self._tickets = dict(enumerate(tickets))

    def number(self, first: int) -> None:
        """Tell each ticket its job's number."""
        for at, ticket in self._tickets.items():
            ticket.number = first + at

    def deliver(self, index: int, outcomes: Sequence[Any]) -> None:
        """Give each ticket its outcome, and forget it."""
        take = self._tickets.pop
        for at, outcome in enumerate(outcomes, index):
            ticket = take(at, None)
            if ticket is not None:
                ticket.settle(outcome)

    def forked(self, error: BaseException) -> None:
        """Have all tickets end: this is a forked child."""
        for ticket in self._tickets.values():
            ticket.forked(error)

    def left(self) -> list[Ticket]:
        """Return those that have no outcome yet."""
        return list(self._tickets.values())

    def forget(self, index: int) -> None:
        """Forget a ticket: who holds it knows its outcome."""
        self._tickets.pop(index, None)
