"""What the server must hear of, and may not have: that a lane has ended, or that a call was abandoned.

Nobody answers that. It is told again after each reconnect, until the answer to a call that was made behind it
says that it has arrived.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

__all__ = ["Unsure"]


class _Told(NamedTuple):
    frame: list[bytes]
    lane: int
    abandoned: int
    """The number of the call; 0: the lane has ended."""


class Unsure:
    """See the file's beginning."""

    def __init__(self) -> None:
        self._new: deque[_Told] = deque()
        self._gathered: list[_Told] = []
        """What will have arrived when the call that makes sure is answered."""
        self.asked = 0
        """The number of that call; 0: none is under way."""

    def __len__(self) -> int:
        return len(self._new) + len(self._gathered)

    def note(self, frame: list[bytes], lane: int = 0, abandoned: int = 0) -> None:
        """Note a frame that was sent. Safe in finalisers, in any thread."""
        self._new.append(_Told(frame, lane, abandoned))

    def gather(self) -> None:
        """Have the next call that makes sure tell of all there is now."""
        while self._new:
            self._gathered.append(self._new.popleft())

    def ends(self) -> list[list[bytes]]:
        """Gather; return the frames that tell of lanes that ended."""
        self.gather()
        return [told.frame for told in self._gathered if not told.abandoned]

    def take_abandoned(self, lane: int) -> list[int]:
        """Gather; return, once, the numbers of a lane's abandoned calls; told again, they are noted anew."""
        self.gather()
        here = [told.abandoned for told in self._gathered if told.lane == lane and told.abandoned]
        self._gathered = [told for told in self._gathered if told.lane != lane or not told.abandoned]
        return here

    def answered(self, number: int) -> None:
        """Note the answer to a call of lane 0."""
        if number == self.asked:
            self.asked = 0
            self._gathered.clear()
