"""Stale owners: what this process still thinks it holds of a session that the server has ended.

    session expired --held something--> every call of that thread: StaleOwner, until it has released all of it
                    '-held nothing----> the thread goes on in a new session; nobody need know

RULES
* What a thread held is the server's word, less what came with an answer that the thread never had.
* A release of what was held is not sent: it belongs to somebody else. It raises `StaleOwner`, too: a program
  must not take a critical section for one that was protected to its end.
* What one thread took another may release (a Lock, a permit, an item). Such a release is refused as well,
  unless this process has asked for the thing anew.
* A call is made again in the new session unless it may have been done in the old one: only calls that take
  (what they took is handed on), reads, and calls that do no harm twice are repeated then.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from mpshared.errors import SessionExpired, StaleOwner
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.transport.term import Term
    from mpshared.errors import MpserveError
    from mpshared.ops import Op

__all__ = ["Stale", "is_told", "unless_done"]

_RELEASES: Final = {
    BY_NAME[name].code: at
    for name, at in (
        ("lock.release", None),
        ("rlock.release", None),
        ("condition.release", None),
        ("semaphore.release", 0),
        ("queue.task_done", 0),
    )
}
"""Operations that give something back; where among their arguments stands how much (None: always one)."""
_OWN_ONLY: Final = BY_NAME["rlock.release"].code
_NOT_AT_THE_END: Final = "undo_put"
"""Takes a call back that is cancelled, not one whose session has ended."""
_TAKES: Final = frozenset({"undo_acquire", "undo_recover", "undo_get"})


class _Claim:
    """What one thread held of one object."""

    __slots__ = ("done", "elsewhere", "idents", "label", "lane", "left", "term", "unseen", "why")

    def __init__(self, term: Term, error: MpserveError, held: list[Any]) -> None:
        self.term = term
        self.why = error.text
        self.lane, self.left, self.unseen, idents, self.label = held
        self.idents = frozenset(idents)
        self.done = _done(error, self.lane)
        """The last call of its lane that was done: `unseen` came with the answer of that one."""
        self.elsewhere = True
        """A release by another thread would be of this."""


class Stale:
    """All that threads of this process have to release."""

    def __init__(self) -> None:
        self.claims: list[_Claim] = []
        self._noted: set[tuple[str, int]] = set()
        self._changing = threading.Lock()

    def note(self, term: Term, error: MpserveError) -> None:
        """Note what the server says was held when a session, or a lane of it, was ended; once."""
        if not is_told(error):
            return
        with self._changing:
            key = term.id, error.fields.get("lane", 0)
            if key not in self._noted:
                self._noted.add(key)
                self.claims += [_Claim(term, error, held) for held in error.fields["held"]]

    def of(self, term: Term, lane: int, abandoned: Collection[int]) -> list[_Claim]:
        """Return what a thread has to release.

        Args:
            term: That of its lane.
            lane: Its number.
            abandoned: Calls of it whose answers the thread never had.
        """
        own = [claim for claim in list(self.claims) if claim.term is term and claim.lane == lane]
        for claim in own:
            if claim.unseen and claim.done in abandoned:
                n, claim.unseen = claim.unseen, 0
                self._reduce(claim, n)
        return [claim for claim in own if claim.left > 0]

    def refuse(self, own: list[_Claim], op: Op, target: str, args: list[Any]) -> None:
        """Raise `StaleOwner` if a call must not be made.

        Args:
            own: What its thread has to release.
            op: What it asks for.
            target: Of which object.
            args: The arguments.
        """
        released = _released(op, args)
        for claim in own or ([] if op.code == _OWN_ONLY else list(self.claims)):
            if released and target in claim.idents and (own or claim.elsewhere):
                self._reduce(claim, released)
                raise _error(claim, own)
        if own:
            raise _error(own[0], own)
        if op.undo in _TAKES:
            self._ask_anew(target)

    def _ask_anew(self, target: str) -> None:
        for claim in self.claims:
            if target in claim.idents:
                claim.elsewhere = False

    def _reduce(self, claim: _Claim, n: int) -> None:
        with self._changing:
            claim.left -= n
            if claim.left <= 0 and claim in self.claims:
                self.claims.remove(claim)


def is_told(error: MpserveError) -> bool:
    """Tell whether the server says what became of the session."""
    return isinstance(error, SessionExpired) and {"held", "done"} <= error.fields.keys()


def unless_done(error: SessionExpired, op: Op) -> None:
    """Raise unless a call that heard of the end can be made again: it was not done, or does no harm twice."""
    lane, number = error.fields.get("at", (0, 0))
    done = _done(error, lane)
    undone = bool(op.undo) and op.undo != _NOT_AT_THE_END
    if number and number <= done and op.writes and not (op.idempotent or undone):
        raise SessionExpired(f"{error.text}. Before that it had done {op.name}, whose answer is lost")


def _done(error: MpserveError, lane: int) -> int:
    return int(dict(error.fields["done"]).get(lane, 0))


def _released(op: Op, args: list[Any]) -> int:
    """Return how much a call gives back."""
    if op.code not in _RELEASES:
        return 0
    at = _RELEASES[op.code]
    return 1 if at is None else int(args[at])


def _error(claim: _Claim, own: list[_Claim]) -> StaleOwner:
    labels = ", ".join(sorted({each.label for each in own or [claim]}))
    return StaleOwner(
        f"{claim.why}. {'This thread' if own else 'Another thread of this program'} held {labels}: somebody "
        f"else may have it since, so what was done meanwhile was not protected. Every call raises this until "
        f"all that was held is released, which raises it, too"
    )
