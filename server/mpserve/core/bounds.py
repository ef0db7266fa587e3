"""How many there may be of what the server holds, and how often more was asked for.

RULES
* A bound is looked at where something new is made, never where it is used.
* What a journal brings back enters whatever the bounds: it was let in before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Bounds"]


class Bounds:
    """See the file's beginning; `mpserve.manager.Options` has the defaults."""

    __slots__ = ("connections", "refused")

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        """How often each limit was reached, by its name; net counts here, too."""
        self.connections: Callable[[], Mapping[str, int]] = dict
        """Returns what is to be told of connections, which the core knows nothing of."""

    def statistics(self) -> dict[str, Any]:
        """Return what `mpserve status` shows."""
        return {"connections": dict(self.connections()), "refused": dict(self.refused)}
