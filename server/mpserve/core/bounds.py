"""How many there may be of what the server holds, and how often more was asked for.

RULES
* A bound is looked at where something new is made, never where it is used.
* Who asks for more is told which bound it is, and what to do; nothing is changed.
* What a journal brings back enters whatever the bounds: it was let in before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mpshared import limits as table
from mpshared.errors import NoRoom
from mpshared.units import format_size, shown_size

if TYPE_CHECKING:
    from mpserve.core.calls import Call

__all__ = ["Bounds", "HeldLimits"]


@dataclass(frozen=True, slots=True)
class HeldLimits:
    """How many there may be; the same names as the options of `mpserve start`."""

    max_objects: int = table.MAX_OBJECTS.default
    max_names: int = table.MAX_NAMES.default
    max_session_objects: int = table.MAX_SESSION_OBJECTS.default
    """Objects that one session may refer to, when it makes another."""
    max_waiting: int = table.MAX_WAITING.default
    """Bytes of values of one session's calls that wait."""


class Bounds:
    """See the file's beginning."""

    __slots__ = ("connections", "journal", "limits", "refused")

    def __init__(self) -> None:
        self.limits = HeldLimits()
        self.refused: Counter[str] = Counter()
        """How often each limit was reached, by the name of its setting. What has none: `failed-attempts` to
        authenticate, peers that were `silent` where TLS is spoken, and that `stalled`: read nothing of what
        they were told. net counts here, too."""
        self.connections: Callable[[], Mapping[str, int]] = dict
        """Returns what is to be told of connections, which the core knows nothing of."""
        self.journal: Callable[[], str] = str
        """Returns why the journal cannot be written, and changes are refused; "": they are not."""

    def check_object(self, objects: int, made: int, names: int, references: int, label: str) -> None:
        """Refuse to make `label` where there are as many as there may be.

        Args:
            objects: How many there are.
            made: How many there would be more: a condition makes its lock, too.
            names: How many of them have a name; 0 where the new one has none.
            references: How many its maker refers to.
            label: How messages name the new one.

        Raises:
            NoRoom: There are too many.
        """
        limits = self.limits
        if objects + made > limits.max_objects:
            makes = f" and it makes {made}" if made > 1 else ""
            has = f"no room for {label}: the server has {objects} objects{makes}"
            self._refuse("max-objects", has, _OBJECTS)
        if names >= limits.max_names:
            self._refuse("max-names", f"no room for {label}: the server has {names} named objects", _NAMES)
        if references >= limits.max_session_objects:
            has = f"no room for {label}: this program has {references} objects"
            self._refuse("max-session-objects", has, _SESSION)

    def check_waiting(self, call: Call, size: int) -> None:
        """Refuse a call that would wait with so many bytes of values, unless none of its program does.

        Results of jobs are let in: who brings them would have to drop them. They count all the same.

        Raises:
            NoRoom: Its program's calls hold enough.
        """
        held = call.session.waiting_bytes
        if held and held + size > self.limits.max_waiting and call.op.room != "enter":
            has = f"calls of this program that wait hold {shown_size(held)} of values"
            self._refuse("max-waiting", f"{has}, and {shown_size(size)} more are too much", _WAITING)

    def _refuse(self, setting: str, what: str, todo: str) -> None:
        self.refused[setting] += 1
        limit: int = getattr(self.limits, setting.replace("-", "_"))
        shown = format_size(limit) if setting == "max-waiting" else str(limit)
        raise NoRoom(f"{what}; the limit is {shown} (--{setting}). {todo}, or start the server with more")

    def statistics(self) -> dict[str, Any]:
        """Return what `mpserve status` shows."""
        told = {"connections": dict(self.connections()), "refused": dict(self.refused)}
        return {**told, "journal": self.journal()}


_OBJECTS: Final = "Delete some (mpserve rm), or let go of some"
_NAMES: Final = "Delete some (mpserve rm), or give one a ttl"
_SESSION: Final = "Let go of some"
_WAITING: Final = "Wait for some of them"
