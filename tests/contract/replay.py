"""What a journal would bring back: a catalogue made from nothing but records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mpserve.core.catalogue import Catalogue
from mpserve.core.effects import Effects, Record
from mpserve.core.sessions import Sessions
from mpserve.engines.journal.codec import decode, encode

__all__ = ["Replay"]


class Replay:
    """Follows an engine by its records."""

    def __init__(self) -> None:
        self.fx = Effects()
        self.catalogue = Catalogue(self._no_ident, Sessions())

    def apply(self, records: Iterable[Record]) -> None:
        """Carry out what was recorded, each thing as a journal would bring it back."""
        for ident, verb, args in records:
            machine = self.catalogue if ident == "" else self.catalogue.objects[ident]
            [(_, _, copied)] = decode(*encode([(ident, verb, args)]))
            getattr(machine, "on_" + verb)(self.fx, *copied)
            kept, self.fx.kept = self.fx.kept, {}
            self.catalogue.count_mentions(kept)
            assert not self.fx.answered, f"{verb} answered a call"
            assert not len(self.fx.timers), f"{verb} set a timer"

    def state(self) -> Any:
        return self.catalogue.state()

    def _no_ident(self) -> str:
        raise AssertionError("a change made an ident up")
