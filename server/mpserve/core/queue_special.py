"""Items on terms: how far one has come, and where it is while it is not due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mpshared.terms import Terms

if TYPE_CHECKING:
    from mpshared.values import Blob

__all__ = ["Delayed", "Special"]


class Delayed(NamedTuple):
    """An item that is not due yet."""

    due_s: float
    deaths: int
    blob: Blob


class Special:
    """One such item. Times are wall-clock seconds: they outlive the server."""

    __slots__ = ("began_at_s", "expires_at_s", "failures", "kill_at_s", "stopped", "terms")

    def __init__(
        self,
        terms: Terms,
        expires_at_s: float | None,
        failures: int = 0,
        began_at_s: float | None = None,
        kill_at_s: float | None = None,
        stopped: bool = False,
    ) -> None:
        self.terms = terms
        self.expires_at_s = expires_at_s
        """When it is given up if it waits; None: never."""
        self.failures = failures
        """How many runs have raised."""
        self.began_at_s = began_at_s
        """When the run under way began, if it has a timeout."""
        self.kill_at_s = kill_at_s
        """When the process that it runs in is killed; None: it was not told to end."""
        self.stopped = stopped
        """Whether it was cancelled while it ran: whatever comes of it, that is its result."""

    def given(self) -> tuple[Any, ...]:
        """Return what `made` needs, for a record."""
        run = self.began_at_s, self.kill_at_s, self.stopped
        return self.terms.given(), self.expires_at_s, self.failures, *run

    def came_back(self) -> None:
        """Note that the run under way is over."""
        self.began_at_s = self.kill_at_s = None

    @classmethod
    def made(cls, terms: dict[str, Any], *more: Any) -> Special:
        """Return the one that `given` was asked of."""
        return cls(Terms.of(terms), *more)
