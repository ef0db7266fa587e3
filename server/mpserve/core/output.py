"""What workers print for one program, until it has printed it.

    add --> kept, numbered --next_page--> on its way --printed(n)--> forgotten
                  ^------- rewind: a new connection -------'

RULES
* Entries are numbered from 1, per session of the program. They leave in order; what is on its way is bounded,
  so that a program that does not read keeps its control connection free and costs `KEPT_MAX_BYTES` at most.
* Beyond that, what comes is lost until the program has caught up; a line that says how much stands where it
  is missing.
* A piece of a line may stand unfinished. Pieces of others follow it as they come (progress dots of many
  workers make one line of dots); a whole line of another begins on a line of its own. That is asked of the
  program by an entry without bytes, a *break*: it alone knows whether both of its streams show on one screen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mpserve.core.room import Room

__all__ = ["KEPT_MAX_BYTES", "Output"]

KEPT_MAX_BYTES: Final = 8 << 20
_ROOM_BYTES: Final = 1 << 20
"""Up to this backlog whoever prints is told at once that it has arrived; beyond, when there is room again."""
_ON_ITS_WAY_BYTES: Final = 256 << 10
_PAGE_BYTES: Final = 64 << 10
_STDERR: Final = 2


class Output:
    """The output of workers for one program."""

    __slots__ = (
        "_entries",
        "_first",
        "_kept_bytes",
        "_lost",
        "_room",
        "_sent",
        "_sent_bytes",
        "_standing",
        "last",
    )

    def __init__(self, room: Room) -> None:
        self._room = room
        self._entries: deque[tuple[int, bytes]] = deque()
        self._first = 1
        """The number of the oldest entry that is kept."""
        self.last = 0
        """The number of the newest entry."""
        self._sent = 0
        """The number of the newest entry that is on its way."""
        self._kept_bytes = 0
        self._sent_bytes = 0
        self._lost = 0
        self._standing: dict[int, str] = {}
        """By stream: whose piece of a line is the last that was printed."""

    @property
    def has_room(self) -> bool:
        """Whether the program keeps up with what is printed for it."""
        return self._kept_bytes < _ROOM_BYTES

    def add(self, source: str, entries: Iterable[Sequence[Any]]) -> int:
        """Keep what `source` printed.

        Args:
            source: Who; lines of different sources do not mix.
            entries: [stream, bytes] each.

        Returns:
            How many lines were lost, because the program has too much to print already.
        """
        lost = 0
        for stream, data in entries:
            if self._kept_bytes + len(data) > KEPT_MAX_BYTES or (self._lost + lost and not self.has_room):
                lost += data.count(b"\n") or 1
            else:
                self._tell_lost()
                self._append(source, stream, data)
        self._lost += lost
        return lost

    def _append(self, source: str, stream: int, data: bytes) -> None:
        standing = self._standing.get(stream)
        if standing not in {None, source} and b"\n" in data and not data.startswith(b"\n"):
            self._keep(stream, b"")
        self._keep(stream, data)
        if data.endswith(b"\n"):
            self._standing.pop(stream, None)
        else:
            self._standing[stream] = source

    def _keep(self, stream: int, data: bytes) -> None:
        self.last += 1
        self._entries.append((stream, data))
        self._count(_cost_bytes(data))

    def _count(self, size_bytes: int) -> None:
        self._kept_bytes += size_bytes
        self._room.held_bytes += size_bytes

    def close(self) -> None:
        """Forget all: the program is gone."""
        self._entries.clear()
        self._count(-self._kept_bytes)

    def _tell_lost(self) -> None:
        lost, self._lost = self._lost, 0
        if lost:
            text = f"mpserve: {lost} lines of output are missing here; they came faster than they were read\n"
            self._append("", _STDERR, text.encode())

    # -- its way to the program ------------------------------------------------------------------

    def next_page(self) -> tuple[int, list[tuple[int, bytes]]] | None:
        """Return what is to be sent now, with the number of its last entry.

        Returns:
            None: there is nothing, or enough is on its way.
        """
        page: list[tuple[int, bytes]] = []
        size = 0
        while self._sent < self.last and size < _PAGE_BYTES and self._sent_bytes < _ON_ITS_WAY_BYTES:
            entry = self._entries[self._sent + 1 - self._first]
            page.append(entry)
            self._sent += 1
            size += _cost_bytes(entry[1])
            self._sent_bytes += _cost_bytes(entry[1])
        return (self._sent, page) if page else None

    def printed(self, number: int) -> None:
        """Forget entries up to `number`: they are printed."""
        while self._first <= min(number, self._sent):
            _, data = self._entries.popleft()
            self._first += 1
            self._count(-_cost_bytes(data))
            self._sent_bytes -= _cost_bytes(data)
        if self.has_room:
            self._tell_lost()

    def rewind(self) -> None:
        """Send again what is not printed: the connection it went by is gone."""
        self._sent = self._first - 1
        self._sent_bytes = 0

    def validate(self) -> None:
        """Check that the numbers and sizes agree."""
        sizes = [_cost_bytes(data) for _, data in self._entries]
        assert self.last - self._first + 1 == len(sizes)
        assert self._first - 1 <= self._sent <= self.last
        assert self._kept_bytes == sum(sizes)
        assert self._sent_bytes == sum(sizes[: self._sent + 1 - self._first])


def _cost_bytes(data: bytes) -> int:
    return len(data) + 64  # the entry, the tuple, and what bytes need besides themselves
