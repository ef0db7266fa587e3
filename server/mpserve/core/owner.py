"""Who holds, waits or takes part, written so that it outlives the connection: one lane of one session."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mpserve.core.calls import Call

__all__ = ["Owner"]


class Owner(NamedTuple):
    """One thread (or task) of one client process. Plain data: it stands in records."""

    session: str
    lane: int

    @classmethod
    def of(cls, call: Call) -> Owner:
        """Return the owner that `call` makes."""
        return cls(call.lane.session.id, call.lane.number)

    def __str__(self) -> str:
        return f"thread {self.lane} of session {self.session}"
