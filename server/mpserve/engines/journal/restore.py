"""Rows to a state: objects, names, references, sessions, and the answers that clients may still ask for.

RULES
* A state is made by the same changes that made it before; nobody is answered, no timer is set, no clock is
  read.
* What is damaged ends the reading of its file; what came before stands. `Restorer.damage` tells.
"""

from __future__ import annotations

import sqlite3
from collections import ChainMap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mpserve.core.calls import Session, SessionInfo
from mpserve.core.catalogue import Catalogue
from mpserve.core.effects import Effects
from mpserve.core.ended import Ended
from mpserve.core.sessions import MAX_ENDED, Sessions
from mpserve.engines.journal.answers import call_of
from mpserve.engines.journal.codec import Answer, Damaged, Entry, decode
from mpserve.engines.journal.store import read_rows
from mpshared import errors

if TYPE_CHECKING:
    from mpserve.core.machine import Machine

__all__ = ["Restorer"]


_DOES_NOT_FIT: Final = (
    ArithmeticError,
    AttributeError,
    RuntimeError,
    LookupError,
    TypeError,
    ValueError,
    AssertionError,
    errors.MpserveError,
)
"""What a change raises that is no change of this object as it is."""


def _no_ident() -> str:
    raise Damaged("a change made an object up")


@dataclass
class Restorer:
    """Carries out entries on an empty catalogue."""

    catalogue: Catalogue = field(default_factory=lambda: Catalogue(_no_ident, Sessions()))
    fx: Effects = field(default_factory=Effects)
    sessions: dict[str, Session] = field(default_factory=dict)
    places: int = 0
    """How many calls took a place in a line."""
    damage: list[str] = field(default_factory=list)
    rows: int = 0
    entries: int = 0
    of_snapshot: int = 0
    """How many of these were in a snapshot."""

    def read(self, files: Iterable[Path]) -> None:
        """Carry out whole files, in order."""
        for path in files:
            try:
                for data, checksum in read_rows(path):
                    self.apply(decode(data, checksum))
                    self.rows += 1
                if path.name.startswith("snapshot-"):
                    self.of_snapshot = self.entries
            except (sqlite3.DatabaseError, Damaged) as err:
                kept = f"{self.rows} rows with {self.entries} changes before it were recovered"
                self.damage.append(f"{path.name} is damaged after that: {err}; {kept}")
                return

    def apply(self, entries: Sequence[Entry]) -> None:
        """Carry out one row."""
        last: tuple[str, str, Any] = ("", "", None)
        for entry in entries:
            if isinstance(entry, Answer):
                self._answer(entry, last)
            else:
                last = (entry[0], entry[1], self._change(*entry))
            self.entries += 1
        kept, self.fx.kept = self.fx.kept, {}
        self.catalogue.count_mentions(kept)

    def _change(self, ident: str, verb: str, args: Sequence[Any]) -> Any:
        own = _OF_SESSIONS.get(verb) if not ident else None
        try:
            if own is not None:
                return own(self, *args)
            machine = self.catalogue.objects[ident] if ident else self.catalogue
            return getattr(machine, "on_" + verb)(self.fx, *args)
        except _DOES_NOT_FIT as err:
            what = f"{verb!r:.40} of {ident or 'the catalogue'!s:.40}"
            raise Damaged(f"the change {what} does not fit what came before it ({err!r:.100})") from None

    # -- sessions --------------------------------------------------------------------------------

    def _began(self, session_id: str, secret: str, info: dict[str, Any]) -> None:
        about = {**info, "python": tuple(info["python"])}
        self.sessions[session_id] = Session(session_id, SessionInfo(**about), secret, room=self.fx.room)

    def _over(self, session_id: str, *ended: Any) -> None:
        session = self.sessions.pop(session_id, None)
        if session is not None and ended:
            self._ended(session_id, session.secret, *ended)

    def _ended(self, session_id: str, *ended: Any) -> None:
        self.catalogue.sessions.keep(session_id, Ended.of_record(*ended))

    def _lane_expired(self, session_id: str, number: int, *ended: Any) -> None:
        session = self.sessions.get(session_id)
        if session is not None:
            session.note_expired(number, Ended.of_record(*ended), MAX_ENDED)

    def _lane_over(self, session_id: str, number: int) -> None:
        session = self.sessions.get(session_id)
        if session is not None:
            session.lanes.pop(number, None)

    def _parked(self, session_id: str, number: int, call: int) -> None:
        """Keep the place of a call that waits."""
        session = self.sessions.get(session_id)
        if session is not None:
            lane = session.lane(number)
            self.places += 1
            lane.place = (call, self.places)
            lane.last_number = max(lane.last_number, call)

    def _answer(self, answer: Answer, given: tuple[str, str, Any]) -> None:
        """Keep an answer, and what its undo needs."""
        session = self.sessions.get(answer.session)
        if session is None:
            return
        lane = session.lane(answer.lane)
        own: dict[str, Machine] = {"": self.catalogue}
        objects = ChainMap(own, self.catalogue.objects)
        try:
            lane.admit_again(call_of(answer, lane, objects, given))
        except _DOES_NOT_FIT as err:
            raise Damaged(f"an answer does not fit what came before it ({err!r:.100})") from None
        lane.last_number = max(lane.last_number, answer.number)
        if lane.place[0] <= answer.number:
            lane.place = (0, 0)
        lane.settle(answer.ack)


_OF_SESSIONS: Final[dict[str, Callable[..., None]]] = {
    "began": Restorer._began,  # noqa: SLF001 - its own table
    "over": Restorer._over,  # noqa: SLF001
    "ended": Restorer._ended,  # noqa: SLF001
    "lane_expired": Restorer._lane_expired,  # noqa: SLF001
    "lane_over": Restorer._lane_over,  # noqa: SLF001
    "parked": Restorer._parked,  # noqa: SLF001
}
