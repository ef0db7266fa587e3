"""Who refers to which object, and when an anonymous one is freed: the catalogue's book of references.

RULES
* An anonymous object lives while something refers to it: a session (counted per session, in batches), a
  stored value that mentions it, or an object that needs it. A *lent* one lives `LENT_S` longer, since
  somebody may be on the way.
* Nothing is freed in the middle of a turn: what is put away in one place may be stored in another by the same
  turn. Whatever may have lost its last reference stands in ``fx.kept`` and is looked at in the end.
* Stored mentions are no records of their own: they follow from the records of who stores them.
* What a session refers to is given up when the session ends. Stock clients count by hand (`STOCK`): what a
  killed one leaks is visible in `status`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mpserve.core.machine import Machine
from mpshared.values import ref_ids

if TYPE_CHECKING:
    from mpserve.core.calls import Session
    from mpserve.core.effects import Effects
    from mpshared.values import Blob

__all__ = ["LENT_S", "STOCK", "References"]

LENT_S = 60.0
"""Seconds a lent object outlives its last reference."""
STOCK = "stock"
"""Stands for all stock clients as a holder of references."""


class References(Machine):
    """All objects of an engine, and who refers to them."""

    def __init__(self) -> None:
        super().__init__("")
        self.objects: dict[str, Machine] = {}
        self.mentions: dict[str, int] = {}
        """ident -> number of stored values (and objects) that need it."""
        self.holders: dict[str, dict[str, int]] = {}
        """ident -> session id -> number of references."""
        self.by_session: dict[str, dict[str, int]] = {}
        """The same, the other way round."""
        self.lent: set[str] = set()
        self.idle_since_s: dict[str, float] = {}
        """Lent objects that nothing refers to. No state: after a restart the time begins anew."""

    def remove(self, fx: Effects, machine: Machine) -> None:
        """Delete an object."""
        raise NotImplementedError

    # -- counting --------------------------------------------------------------------------------

    def hold(self, fx: Effects, session: Session, ident: str) -> None:
        """Give `session` one more reference (all stock clients count as one holder)."""
        self.change(fx, "held", _holder(session), ident, 1)

    def let_go(self, fx: Effects, session: Session, ident: str, n: int = 1) -> None:
        """Take up to n references from `session`."""
        holder = _holder(session)
        lost = min(n, self.by_session.get(holder, {}).get(ident, 0))
        if lost:
            self.change(fx, "dropped", holder, ident, lost)
            fx.kept.setdefault(ident, 0)

    def delivered(self, fx: Effects, session: Session, blobs: Sequence[Blob]) -> None:
        """Give the receiver of values its own references to what they mention."""
        for ident in ref_ids(blobs):
            if ident not in self.objects:
                continue
            if session.info.role != STOCK:
                self.hold(fx, session, ident)
            elif ident not in self.lent:  # it counts by itself, later: keep the object until it has
                self.change(fx, "is_lent", ident)

    def taken_back(self, fx: Effects, session: Session, blobs: Sequence[Blob]) -> None:
        """Undo `delivered`: the values never reached their receiver."""
        if session.info.role != STOCK:
            for ident in ref_ids(blobs):
                self.let_go(fx, session, ident)

    def forget_session(self, fx: Effects, session: Session) -> None:
        """Drop every reference of an ended session."""
        if session.info.role != STOCK:
            for ident, n in list(self.by_session.get(session.id, {}).items()):
                self.let_go(fx, session, ident, n)

    def held_by(self, session: Session) -> int:
        """Return how many objects a session refers to; 0 for stock clients, which are many under one name."""
        if session.info.role == STOCK:
            return 0
        held = self.by_session.get(session.id)
        return 0 if held is None else len(held)

    def references(self, ident: str) -> int:
        """Return how many references and stored mentions an object has."""
        return sum(self.holders.get(ident, {}).values()) + self.mentions.get(ident, 0)

    # -- at the end of a turn --------------------------------------------------------------------

    def apply_kept(self, fx: Effects) -> None:
        """Count the mentions that were stored and dropped in this turn, and free what nothing refers to."""
        while fx.kept:
            kept, fx.kept = fx.kept, {}
            self.count_mentions(kept)
            for ident in kept:
                self._free_if_unused(fx, ident)

    def count_mentions(self, kept: dict[str, int]) -> None:
        """Add up changes of stored mentions. One of an object that never was, or is gone, does not count."""
        for ident, change in kept.items():
            if change and ident in self.objects:
                n = self.mentions[ident] = self.mentions.get(ident, 0) + change
                if n <= 0:
                    del self.mentions[ident]

    def _free_if_unused(self, fx: Effects, ident: str) -> None:
        machine = self.objects.get(ident)
        if machine is None or machine.name is not None:
            return
        if self.references(ident):
            self.idle_since_s.pop(ident, None)
        elif ident not in self.lent:
            self.remove(fx, machine)
        elif ident not in self.idle_since_s:
            self.idle_since_s[ident] = fx.now_s
            fx.timers.add(fx.now_s + LENT_S, self._free_lent, machine, fx.now_s)

    def _free_lent(self, fx: Effects, machine: Machine, since_s: float) -> None:
        if self.idle_since_s.get(machine.ident) == since_s:
            self.remove(fx, machine)

    # -- changes ---------------------------------------------------------------------------------

    def on_held(self, _fx: Effects, holder: str, ident: str, n: int) -> None:
        """Count references."""
        of_object = self.holders.setdefault(ident, {})
        of_holder = self.by_session.setdefault(holder, {})
        of_object[holder] = of_holder[ident] = of_object.get(holder, 0) + n
        self.idle_since_s.pop(ident, None)

    def on_dropped(self, _fx: Effects, holder: str, ident: str, n: int) -> None:
        """Count references down."""
        left = self.holders[ident][holder] - n
        if left:
            self.holders[ident][holder] = self.by_session[holder][ident] = left
            return
        del self.holders[ident][holder]
        if not self.holders[ident]:
            del self.holders[ident]
        self._forget_holder(holder, ident)

    def on_is_lent(self, _fx: Effects, ident: str) -> None:
        """Mark an object as lent."""
        self.lent.add(ident)

    def forget_object(self, ident: str) -> None:
        """Drop all references to a deleted object."""
        self.mentions.pop(ident, None)
        for holder in self.holders.pop(ident, {}):
            self._forget_holder(holder, ident)
        self.lent.discard(ident)
        self.idle_since_s.pop(ident, None)

    def _forget_holder(self, holder: str, ident: str) -> None:
        of_holder = self.by_session[holder]
        del of_holder[ident]
        if not of_holder:
            del self.by_session[holder]

    # -- looking ---------------------------------------------------------------------------------

    def _mentioned(self) -> Iterator[str]:
        for machine in self.objects.values():
            yield from ref_ids(machine.stored())
            if machine.settings.get("lock"):
                yield machine.settings["lock"]

    def validate(self) -> None:
        """Raise AssertionError unless both indexes agree, mentions are what is stored, and nothing is left
        over. Between turns only. Cost: O(everything).
        """
        super().validate()
        pairs = {(i, h, n) for i, held in self.holders.items() for h, n in held.items()}
        assert pairs == {(i, h, n) for h, held in self.by_session.items() for i, n in held.items()}
        assert all(n > 0 for _, _, n in pairs)
        assert all(self.by_session.values())
        known = self.holders.keys() | self.mentions.keys() | self.lent | self.idle_since_s.keys()
        assert known <= self.objects.keys()
        counted = Counter(self._mentioned())
        for ident, machine in self.objects.items():
            assert self.mentions.get(ident, 0) == counted[ident], f"{machine.label} is miscounted"
            unused = machine.name is None and not self.references(ident)
            assert unused == (ident in self.idle_since_s), f"{machine.label} is forgotten, or never freed"


def _holder(session: Session) -> str:
    return STOCK if session.info.role == STOCK else session.id
