"""Kept answers: calls to entries of the journal, and back.

What a call took is what its undo gives back, should its client never ask for the answer. For a queue that is
(leased, runs, the queue or pool that they are from): a machine, which stands in the journal by its ident.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mpserve.core.calls import Call, Lane
from mpserve.engines.journal.codec import GIVEN, Answer
from mpshared.errors import make
from mpshared.ops import get_op

if TYPE_CHECKING:
    from mpserve.core.effects import Record
    from mpserve.core.machine import Machine

__all__ = ["answer_of", "call_of"]

_LEASE: Final = frozenset({"lease", "assigned"})
_GIVE: Final = _LEASE | {"take", "passed", "collect"}
"""Changes that return the runs of values which the call's answer holds, and its undo needs."""
_new = tuple.__new__  # see `frames`
_FROM_QUEUE: Final = "undo_get"
"""The undo of operations that took (leased, runs, machine)."""


def answer_of(call: Call, before: Record | None = None) -> Answer:
    """Return the entry for an answered call.

    Args:
        call: What was answered.
        before: The record right before the answer's place in the journal.
    """
    lane, machine, took = call.lane, call.machine, call.took
    source = ident = "" if machine is None else machine.ident
    result, out, error = call.result, call.out or None, None
    if call.error is not None:
        took, result, out, error = None, None, None, call.error.travels()
    elif took is not None:
        if call.op.undo == _FROM_QUEUE:
            leased, runs, origin = took
            source = origin.ident
            took = (leased, runs, source)
        if out is not None and before is not None and before[0] == source and before[1] in _GIVE:
            took, out = GIVEN, None
    session, number, ack, code = lane.session.id, call.number, lane.settled, call.op.code
    return _new(Answer, (session, lane.number, number, ack, code, ident, took, result, out, error))


def call_of(answer: Answer, lane: Lane, objects: Mapping[str, Machine], given: tuple[str, str, Any]) -> Call:
    """Return the answered call for an entry.

    Args:
        answer: The entry.
        lane: Whose call it was.
        objects: All objects, the catalogue under "".
        given: The record right before it: ident, verb, and what carrying it out returned.
    """
    call = Call(get_op(answer.op), answer.ident, [], (), lane, answer.number)
    call.machine = objects.get(answer.ident)
    call.answered, call.result, call.out = True, answer.result, answer.out or ()
    if answer.error is not None:
        call.error = make(*answer.error)
    elif answer.took == GIVEN:
        ident, verb, runs = given
        call.out = [blob for run in runs for blob in run[-1]]
        call.took = runs if verb == "collect" else (verb in _LEASE, runs, objects[ident])
    elif answer.took is not None and call.op.undo == _FROM_QUEUE:
        leased, runs, ident = answer.took
        call.took = (leased, runs, objects[ident]) if ident in objects else None
    else:
        call.took = answer.took
    return call
