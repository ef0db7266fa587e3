"""Orders to the nursery, in order. Where it takes none (it is stopped, or busy) they wait here.

RULES
* Who orders never waits.
* An order that waits already is not taken a second time, as a signal that is pending is not: it waits last,
  so that what was ordered last comes last. So there are few of them: for each Process a start, a dismissal,
  and one of each signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mpclient.worker.channel import packed

if TYPE_CHECKING:
    from mpclient.worker.channel import Channel

__all__ = ["Orders"]


class Orders:
    """See the file's beginning.

    Args:
        channel: To the nursery.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._waiting: dict[bytes, None] = {}
        self._rest = b""
        """Of one that is on its way."""

    def __len__(self) -> int:
        """Return how many wait, one that is on its way included."""
        return len(self._waiting) + bool(self._rest)

    def give(self, kind: str, **fields: Any) -> None:
        """Give an order."""
        order = packed(kind, fields)
        self._waiting.pop(order, None)
        self._waiting[order] = None
        self.send()

    def hand_over(self, descriptors: Sequence[int], kind: str) -> None:
        """Give an order that brings descriptors.

        Raises:
            BlockingIOError: It would have to wait, which these cannot.
        """
        data = packed(kind, {})
        rest = data if self else self._channel.send_part(data, descriptors)
        if rest == data:
            raise BlockingIOError("the nursery takes no orders at present")
        self._rest = rest

    def send(self) -> None:
        """Send what the nursery takes now."""
        while self._rest or self._waiting:
            if not self._rest:
                self._rest = next(iter(self._waiting))
                del self._waiting[self._rest]
            self._rest = self._channel.send_part(self._rest)
            if self._rest:
                return
