"""The memory engine with a journal: no answer leaves before what it promises is durable.

    submit … submit (one turn of the loop) --> end_turn --> commit --> deliver, in order

RULES
* All answers of a turn wait for its commit, reads too: they may tell what the turn has changed. What is read
  before the turn's first change, while nothing is being written, is answered at once.
* While the disk is quick the loop commits a small turn itself, once it has looked who else has called
  meanwhile; else the commit thread does (`commit`).
* A commit takes as long as the disk likes, and the loop may stand for it. That counts against nobody: who
  could not be heard meanwhile is given the time back.
* An answer to a call that changed something is kept with the change, so that a client which asks again, also
  after a restart, is given this one. Reads are done again.
* While nothing can be written (the disk is full) changes are refused, before anything is done. So is one
  whose values are larger than what the disk has left. What only says who refers to what, without which nobody
  could read, is let in as long as the disk has any room: the ballast's, which was given up.
* What belongs to a restored session waits for it as long as `--session-timeout`.
* The places of calls that wait are written with the next change, or by themselves within `PLACES_S`: nothing
  waits for that, as a call that is parked is told nothing. An answered change says that all places taken
  before it are written, too.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from mpserve.core.calls import Call, Lane, Session, SessionInfo
from mpserve.engines.base import Deliver, StoreError
from mpserve.engines.journal.answers import answer_of
from mpserve.engines.journal.codec import Answer, Entry
from mpserve.engines.journal.commit import LARGE_BYTES, MAKE_ROOM, NO_MEMORY, Committer, Turn
from mpserve.engines.journal.compact import Compactor, write_state
from mpserve.engines.journal.restore import Restorer
from mpserve.engines.journal.store import snapshot_path, state_files
from mpserve.engines.memory import MemoryEngine
from mpshared.bunch import message_bytes
from mpshared.errors import NoRoom
from mpshared.units import shown_size

if TYPE_CHECKING:
    from mpserve.core.effects import Effects, Record
    from mpserve.core.ended import Ended
    from mpserve.engines.journal.store import Store

__all__ = ["PLACES_S", "JournalEngine"]

PLACES_S: Final = 0.02
"""How long places wait for a change to be written with. A commit of their own at once would hold up the put
that most often follows a get."""
STOOD_S: Final = 0.1
"""A commit for which the loop stood longer than that may have cost somebody his time to come back."""
TELL_AGAIN_S: Final = 60.0
"""Between two lines that tell of values too large for the disk."""
_REFERENCES: Final = frozenset({"cluster.adopt", "cluster.drop", "cluster.lend"})
"""Operations that only say who refers to what, beside the opening of what exists."""
TOLD_S: Final = 1.0
"""One for which it stood longer than that is told to the log."""


class JournalEngine(MemoryEngine):
    """See the file's beginning.

    Args:
        new_ident: As for `MemoryEngine`.
        store: The folder.
        call_soon: Runs a function in the loop's thread, soon; called by the commit thread.
        limits: As for `MemoryEngine`.
    """

    def __init__(
        self,
        new_ident: Callable[[], str],
        store: Store,
        call_soon: Callable[[Callable[[], None]], None],
        **limits: Any,
    ) -> None:
        super().__init__(new_ident, recording=True, **limits)
        self._store = store
        self._call_soon = call_soon
        self._calls: list[Call] = []
        """Answered in this turn."""
        self._answers: list[tuple[int, Answer]] = []
        """Answers to be kept, each with the number of records before it."""
        self._then: list[Callable[[], None]] = []
        """What else is to be done when this turn is durable."""
        self._writing = 0
        """Turns that are not durable yet."""
        self._large_bytes = self._turns_bytes = 0
        """What large values have in them, and in this turn."""
        self._refusal: NoRoom | None = None
        """The last one, which waits for no disk: there may be none for long."""
        self._tell_due_s = -math.inf
        self._places_planned = False
        self.committer = Committer(store, self._written, self._tell_of_disk)
        self.bounds.journal = lambda: self.committer.failing
        self.compactor = Compactor(store, self.committer.put, self._tell_of_compaction)
        self.restored = self._restore(store)
        self._changes = self.restored.entries - self.restored.of_snapshot
        """What was written since the last snapshot, in number."""
        self.committer.start()

    # -- answers ---------------------------------------------------------------------------------

    @property
    def deliver(self) -> Deliver:
        """Is given each answer by the memory engine, and holds it."""
        return self._hold

    @deliver.setter
    def deliver(self, deliver: Deliver) -> None:
        self._send = deliver

    def submit(self, call: Call, now_s: float) -> None:
        """Execute one call, unless it is a change that cannot be written."""
        why = self._why_not(call, now_s) if call.op.writes else ""
        if why:
            self.fx.now_s = now_s
            self._refusal = _no_room(call, why)
            self.fx.fail(call, self._refusal)
            self.committer.look_again()
            self._finish_turn()
        else:
            MemoryEngine.submit(self, call, now_s)

    def _why_not(self, call: Call, now_s: float) -> str:
        """Return why a change cannot be written; "": it can."""
        failing = self.committer.failing
        if failing or not call.blobs:
            return "" if failing and self._only_refers(call) and self.committer.has_room(0) else failing
        size_bytes = message_bytes(call.blobs)
        if size_bytes >= LARGE_BYTES:
            if not self.committer.has_room(self._large_bytes + size_bytes):
                return self._too_full(shown_size(size_bytes), now_s)
            self._large_bytes += size_bytes
            self._turns_bytes += size_bytes
        return ""

    def _only_refers(self, call: Call) -> bool:
        if call.op.name != "cluster.open":
            return call.op.name in _REFERENCES
        what, fresh = call.args[:2], call.args[3:4]
        return [*map(type, what)] == [str, str] and tuple(what) in self.catalogue.names and fresh == [False]

    def _too_full(self, size: str, now_s: float) -> str:
        if now_s >= self._tell_due_s:
            self._tell_due_s = now_s + TELL_AGAIN_S
            self.tell("journal.full", {"size": size, "changes": "of that size are refused"})
        return f"the disk is too full for {size} more; {MAKE_ROOM}"

    def _let_in(self) -> bool:
        return not self.committer.failing and super()._let_in()

    def _hold(self, call: Call) -> None:
        if call.error is not None and call.error is self._refusal:
            self._send(call)
            return
        if (call.op.writes or call.took is not None) and call.lane.session.info.role != "stock":
            at = call.at
            before = self.fx.records[at - 1] if at else None  # type: ignore[index]
            self._answers.append((at, answer_of(call, before)))
        elif not (self.fx.records or self._calls or self._writing):
            self._send(call)
            return
        self._calls.append(call)

    def wants_more(self) -> bool:
        """Tell whether the turn is to read once more before it ends: one commit serves all who called."""
        return bool(self._calls) and not self._writing and self.committer.is_quick

    def end_turn(self) -> bool:
        """Have what this turn changed written; answer what need not wait. The loop calls it each turn.

        Returns:
            Whether another turn is due at once: answers leave first, then comes what they led to.
        """
        if self._calls or self.fx.records or self._then:
            at_once = self.committer.is_quick
            if not (at_once and self._writing):  # the thread is soon done: then one commit serves all
                self._commit(at_once=at_once)
        if self.fx.parked and not self._places_planned:
            self._places_planned = True
            self.fx.timers.add(self.fx.now_s + PLACES_S, self._places_due)
        return not self._writing and bool(self._calls or self.fx.records or self._then)

    def when_kept(self, then: Callable[[], None]) -> None:
        """Call `then` once all that was changed so far is durable: at this turn's end, at the earliest."""
        self._then.append(then)

    def _commit(self, *, at_once: bool) -> None:
        turn = Turn(self._take_entries(), self._calls, self._then, large_bytes=self._turns_bytes)
        self._calls, self._then, self._turns_bytes = [], [], 0
        if not turn.entries and not self._writing:
            self._release(turn)
            return
        self._changes += len(turn.entries)
        left = self._write_at_once(turn) if at_once else turn
        if left is None:
            self._release(turn)
        else:
            self._writing += 1
            self.committer.put(left)
        self._compact_if_due()

    def _write_at_once(self, turn: Turn) -> Turn | None:
        """Write a turn in this thread; return it if it is to be put instead."""
        left = self.committer.write_at_once(turn)
        took_s = self.committer.stood_s
        if took_s > STOOD_S:
            self.sessions.excuse(self.fx, took_s)
            if took_s > TOLD_S:
                self.tell("journal.slow", {"took_s": round(took_s, 1)})
        return left

    def _take_entries(self) -> list[Entry]:
        """Return records and answers of this turn, each answer behind the changes it tells of."""
        records, answers = self.fx.records or [], self._answers
        if self.fx.parked and (records or answers):
            records += self._take_places()
        entries: list[Entry] = []
        done = 0
        for count, answer in answers:
            entries += records[done:count]
            entries.append(answer)
            done = count
        entries += records[done:]
        self.fx.records, self._answers = [], []  # not before: there may have been no memory for it
        return entries

    def _places_due(self, fx: Effects) -> None:
        """Have places written that found no change to be written with; in a turn, which then ends."""
        self._places_planned = False
        if fx.records is not None:
            fx.records += self._take_places()

    def _take_places(self) -> list[Record]:
        """Return the places that were taken since the last time, but for those that are free again.

        Calls that change nothing are all answered together, and stock clients do not come back.
        """
        parked, self.fx.parked = self.fx.parked or {}, {}
        return [
            ("", "parked", (call.session.id, call.lane.number, call.number))
            for call in parked
            if call.waiter is not None and call.op.writes and call.session.info.role != "stock"
        ]

    def _written(self, turns: list[Turn]) -> None:
        """Have durable turns answered; in the commit thread."""
        self._call_soon(lambda: self._answer_turns(turns))

    def _answer_turns(self, turns: list[Turn]) -> None:
        self._writing -= len(turns)
        for turn in turns:
            self._release(turn)

    def _release(self, turn: Turn) -> None:
        self._large_bytes -= turn.large_bytes
        send = self._send
        for call in turn.calls:
            send(call)
        for then in turn.then:
            then()

    # -- compaction ------------------------------------------------------------------------------

    def _compact_if_due(self) -> None:
        if self.compactor.is_due(self.committer.journal_bytes, self._changes):
            self.committer.journal_bytes = self._changes = 0
            self.compactor.start()

    def _tell_of_compaction(self, why: str) -> None:
        text = "the journal could not be compacted: it goes on growing, and is tried again"
        self._call_soon(lambda: self.trouble(text, OSError(why)))

    # -- the disk --------------------------------------------------------------------------------

    def _tell_of_disk(self, why: str) -> None:
        """Tell the log; in the commit thread."""
        if why == NO_MEMORY:
            self._call_soon(self.lacks_memory)
        if why:
            event, fields = "journal.failed", {"why": why, "changes": "refused until it can be written"}
        else:
            event, fields = "journal.recovered", {"changes": "accepted again"}
        self._call_soon(lambda: self.tell(event, fields))

    # -- sessions --------------------------------------------------------------------------------

    def start_session(self, session_id: str, info: SessionInfo, secret: str, now_s: float) -> Session:
        """Begin a session, which a restart will find again."""
        session = super().start_session(session_id, info, secret, now_s)
        self._record("began", session_id, secret, asdict(info))
        return session

    def _disown(self, session: Session) -> None:
        super()._disown(session)
        ended = self.sessions.ended.get(session.id)
        self._record("over", session.id, *(() if ended is None else ended[1:]))

    def _expire_lane(self, lane: Lane) -> Ended:
        ended = super()._expire_lane(lane)
        self._record("lane_expired", lane.session.id, lane.number, *ended)
        return ended

    def _close(self, lane: Lane) -> None:
        super()._close(lane)
        self._record("lane_over", lane.session.id, lane.number)

    def _record(self, verb: str, *args: Any) -> None:
        if self.fx.records is not None:
            self.fx.records.append(("", verb, args))

    # -- coming back -----------------------------------------------------------------------------

    def _restore(self, store: Store) -> Restorer:
        """Bring back what the folder holds."""
        restorer = Restorer(self.catalogue, self.fx)
        self.fx.records = None
        restorer.read(state_files(store.folder))
        if restorer.damage:
            _leave_damaged(restorer, store)
        self.fx.records, self.fx.parked = [], {}
        return restorer

    def revive(self, now_s: float) -> None:
        """Go on from the restored state: sessions have time to come back, what was due is planned anew."""
        fx = self.fx
        fx.now_s = now_s
        sessions = self.restored.sessions
        for session in sessions.values():
            self.sessions.revive(fx, session)
        for machine in self.catalogue.objects.values():
            for owner in machine.owners():
                if owner in sessions:
                    sessions[owner].may_own_in(machine)
        self.catalogue.revive(fx)
        self._end([session for session in sessions.values() if session.info.role == "stock"])
        self._finish_turn()

    @property
    def is_writing(self) -> bool:
        """Whether answers wait for the disk."""
        return bool(self._writing or self._calls or self._then)

    def close(self) -> bool:
        """Write what is left and let go of the folder; returns whether all of it could be written."""
        if not self.committer.is_alive():
            return self.committer.complete
        self._places_due(self.fx)
        self._commit(at_once=False)
        self.compactor.close()
        complete = self.committer.close()
        self._store.close()
        return complete


def _leave_damaged(restorer: Restorer, store: Store) -> None:
    """Have what was recovered written, so that nothing that follows stands behind what cannot be read."""
    try:
        write_state(restorer, snapshot_path(store.folder, store.number + 1), (store.server, store.epoch))
        store.set_aside()
    except (sqlite3.Error, OSError) as err:
        what = f"{'; '.join(restorer.damage)}, and cannot be written ({err})"
        raise StoreError(f"{what}. Make room on the disk of {store.folder}, and start again") from None


def _no_room(call: Call, why: str) -> NoRoom:
    return NoRoom(
        f"{call.op.name} was not done: the server cannot write its journal ({why}). Changes are accepted "
        "again when it can; reads go on, unless something accepted before waits to be written, too",
        journal=True,
    )
