"""Registered: stands for an object of a class of the operator's own, which lives outside of the engine.

Here it has a name for itself, references, and a line in `status`; what it does, `mpserve.dispatch.registered`
knows. After a restart only this is left of it, and calls are told so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from mpserve.core.machine import Change, Machine

__all__ = ["Registered"]


class Registered(Machine):
    """The place of an object that lives elsewhere."""

    kind: ClassVar[str] = "registered"
    SETTINGS: ClassVar[dict[str, Any]] = {"typeid": ""}

    def rebuild(self) -> Iterator[Change]:
        """Yield nothing: what the operator's class holds is not known here."""
        return iter(())

    def state(self) -> str:
        """Return its typeid: all that is known here."""
        return str(self.settings["typeid"])

    def statistics(self) -> dict[str, Any]:
        """Return its typeid."""
        return {"typeid": self.settings["typeid"]}
