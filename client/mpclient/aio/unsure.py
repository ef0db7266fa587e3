"""What the server must hear of, and may not have: that a call was abandoned, or that a lane has ended.

It is told again after each reconnect, until the answer to a later call says that it has arrived.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from mpshared.wire.own.frames import Type, encode_control

__all__ = ["Unsure"]

_MOST: Final = 64
"""So much may be uncertain before the server is asked something only to have an answer."""


class _Told(NamedTuple):
    mark: int
    lane: int
    abandoned: int
    """The number of the call; 0: the lane has ended."""
    settled: int

    def pieces(self) -> list[bytes]:
        if self.abandoned:
            return encode_control(Type.ABANDON, self.lane, self.abandoned)
        return encode_control(Type.LANE_CLOSED, self.lane, ack=self.settled)


class Unsure:
    """See the file's beginning."""

    def __init__(self) -> None:
        self._told: deque[_Told] = deque()
        self._marks: dict[int, int] = {}
        """Calls of lane 0 whose answers make sure of something: which mark, by number."""
        self._mark = 0

    def clear(self) -> None:
        """Forget everything: its session is over."""
        self._told.clear()
        self._marks.clear()

    def tell(self, lane: int, abandoned: int, settled: int) -> list[bytes]:
        """Return the frame that tells of an abandoned call (its number), or (0) of a lane that has ended."""
        self._mark += 1
        told = _Told(self._mark, lane, abandoned, settled)
        self._told.append(told)
        return told.pieces()

    @property
    def is_much(self) -> bool:
        """Whether it is time to ask something only to have an answer."""
        return self._mark % _MOST == 0

    def ask(self, number: int) -> None:
        """Note a call of lane 0 that was made just now."""
        self._marks[number] = self._mark

    def answered(self, number: int) -> None:
        """Note the answer to a call of lane 0: what was told before has arrived."""
        mark = self._marks.pop(number, 0)
        while self._told and self._told[0].mark <= mark:
            self._told.popleft()

    def ends(self) -> Iterator[list[bytes]]:
        """Yield the frames that tell of lanes that ended."""
        yield from (told.pieces() for told in self._told if not told.abandoned)

    def abandoned(self, lane: int, last: int) -> list[int]:
        """Return which calls of a lane were abandoned. The server knows those up to `last`; numbers of the
        others are free from now on.
        """
        here = [told for told in self._told if told.lane == lane and told.abandoned]
        for told in here:
            if told.abandoned > last:
                self._told.remove(told)
        return [told.abandoned for told in here]
