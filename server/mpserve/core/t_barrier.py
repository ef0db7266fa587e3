"""Barrier: so many parties wait for each other, round after round.

    FILLING --last party arrives, no action--> all are answered, FILLING
    FILLING --last party arrives--> ACTING --action_done(True)--> all are answered, FILLING
    FILLING, ACTING --a time is up, a party is gone, abort, the action failed--> BROKEN --reset--> FILLING

RULES
* The action is run by the client that came last, since no user's code runs here: it is answered ``[index,
  True]`` and owes an `action_done`. All others are answered ``[index, False]``, after the action.
* While the action runs no party's time runs, and newcomers wait for the next round, where their time begins:
  in `threading.Barrier` too both stand still until the action has returned.
* A party that is gone breaks the barrier: nobody can take its place. So does a client that dies with the
  action.
* Who takes part in a round with an action is state: after a restart those calls come again and take their
  seats, and are answered even if the action was done meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from mpserve.core.machine import Change, Machine
from mpserve.core.owner import Owner
from mpserve.core.parking import ParkingLot
from mpshared.errors import BadType, BadValue, BrokenBarrierError

if TYPE_CHECKING:
    from mpserve.core.calls import Call, Lane, Session
    from mpserve.core.effects import Effects
    from mpserve.core.parking import Waiter

__all__ = ["Barrier"]


class Barrier(Machine):
    """A meeting point for a fixed number of parties."""

    kind: ClassVar[str] = "barrier"
    SETTINGS: ClassVar[dict[str, Any]] = {"parties": None, "has_action": False, "timeout_s": None}
    """How many, whether the last one runs an action, and the time of those who give none."""

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self._check_settings()
        self.broken = ""
        """Why it is broken, or "" if it is not."""
        self.actor: Owner | None = None
        """Who runs the action now."""
        self.seats: dict[Owner, int] = {}
        """While the action runs: index of everybody else in the round."""
        self.owed: dict[Owner, int] = {}
        """Index of those whose round ended while their call was away."""
        self.fillers = ParkingLot()
        self.seated = ParkingLot()
        self.newcomers = ParkingLot()

    def _check_settings(self) -> None:
        parties, has_action, timeout_s = (self.settings[name] for name in self.SETTINGS)
        if type(parties) is not int or type(has_action) is not bool:
            msg = f"{self.label} needs a whole number as parties and True or False as has_action"
            raise BadType(f"{msg}, got {parties!r:.40} and {has_action!r:.40}")
        if parties < 1:
            raise BadValue(f"parties must be > 0: {self.label} was asked for with {parties}")
        if timeout_s is not None and (type(timeout_s) not in {int, float} or not timeout_s >= 0):
            raise BadValue(f"the timeout of {self.label} must be seconds >= 0 or None, got {timeout_s!r:.40}")

    @property
    def parties(self) -> int:
        """How many must meet."""
        return int(self.settings["parties"])

    # -- operations ------------------------------------------------------------------------------

    def wait(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        """Take part in a round, and wait until it is full.

        Args:
            fx: Where the answer goes: ``[index, run_the_action_now]``, the index in order of arrival.
            call: The call; its thread is one party.
            timeout_s: Seconds after which it breaks the barrier; None: the barrier's own time, 0: at once.

        Fails with:
            BrokenBarrierError: The barrier is broken, or breaks, or is reset.

        Cost: O(1); O(parties) for the last one. Source: threading.Barrier.wait.
        """
        owner = Owner.of(call)
        if owner in self.owed:
            index = self.owed[owner]
            self.change(fx, "paid", *owner)
            fx.reply(call, [index, False])
        elif owner in self.seats:
            self.seated.park(fx, call, None, self._timed_out)
        elif self.actor is not None:
            self.newcomers.park(fx, call, None, self._timed_out, timeout_s)
        else:
            self._arrive(fx, call, timeout_s)

    def action_done(self, fx: Effects, call: Call, ok: bool) -> None:
        """End the round whose action the caller ran: well, or by breaking the barrier.

        Raises:
            BrokenBarrierError: The round ended before, because the barrier broke or was reset.
        """
        if self.actor == Owner.of(call):
            if ok:
                self._end_round(fx)
            else:
                self._break(fx, "its action failed")
        elif ok:
            msg = f"the round of {self.label} whose action this was is over: it broke or was reset meanwhile"
            raise BrokenBarrierError(f"{msg}; the other parties were told so")
        fx.reply(call)

    def reset(self, fx: Effects, call: Call) -> None:
        """Fail everybody in the round and begin anew; newcomers of the next round stay."""
        msg = f"{self.label} was reset while this call waited for it; wait again to be in the next round"
        if self.broken or self.actor is not None:
            self.change(fx, "reset")
        self._fail(fx, (self.fillers, self.seated), msg)
        self._admit(fx)
        fx.reply(call)

    def abort(self, fx: Effects, call: Call) -> None:
        """Break the barrier."""
        self._break(fx, "it was aborted")
        fx.reply(call)

    def status(self, fx: Effects, call: Call) -> None:
        """Answer ``[parties, n_waiting, broken]``."""
        fx.reply(call, [self.parties, self._n_waiting(), bool(self.broken)])

    def undo_wait(self, fx: Effects, call: Call) -> None:
        """Break the barrier if the caller was to run the action and was never told."""
        if call.took and self.actor == Owner.of(call):
            self._break(fx, "the party that was to run its action gave up")

    # -- one round -------------------------------------------------------------------------------

    def _arrive(self, fx: Effects, call: Call, timeout_s: float | None) -> None:
        if timeout_s is None:
            timeout_s = self.settings["timeout_s"]
        if self.broken:
            fx.fail(call, self._breakage())
        elif len(self.fillers) + 1 == self.parties:
            self._fill(fx, call)
        elif timeout_s == 0:
            self._timed_out(fx, call)
        else:
            self.fillers.park(fx, call, timeout_s, self._timed_out)

    def _fill(self, fx: Effects, last: Call) -> None:
        index = len(self.fillers)
        if self.settings["has_action"]:
            self._begin_action(fx, last)
        else:
            for seat, call in enumerate(self.fillers.drain()):
                fx.reply(call, [seat, False])
        fx.reply(last, [index, self.actor is not None])

    def _begin_action(self, fx: Effects, last: Call) -> None:
        self.change(fx, "acts", *Owner.of(last), [tuple(Owner.of(call)) for call in self.fillers])
        for call in self.fillers:
            self.fillers.repark(call, self.seated, self._timed_out)
        last.session.may_own_in(self)
        last.took = True

    def _end_round(self, fx: Effects) -> None:
        seats = dict(self.seats)
        here = {Owner.of(call): call for call in self.seated.drain()}
        self.change(fx, "acted", [(*owner, seat) for owner, seat in seats.items() if owner not in here])
        for owner, call in here.items():
            fx.reply(call, [seats[owner], False])
        self._admit(fx)

    def _admit(self, fx: Effects) -> None:
        """Let newcomers into the round that begins, and if they fill it, into the one after."""
        for waiter in self.newcomers.waiters():
            if self.actor is not None or waiter.call.answered:  # answered: one without time broke it for all
                return
            self.newcomers.forget(waiter.call)
            self._arrive(fx, waiter.call, waiter.note)

    # -- breaking --------------------------------------------------------------------------------

    def _timed_out(self, fx: Effects, call: Call) -> None:
        self._break(fx, "the time of one of its parties was up")
        fx.fail(call, self._breakage())

    def _break(self, fx: Effects, why: str) -> None:
        self.change(fx, "broke", why)
        self._fail(fx, self.lots(), self._breakage().text)

    def _fail(self, fx: Effects, lots: Iterable[ParkingLot], text: str) -> None:
        for lot in lots:
            for call in lot.drain():
                fx.fail(call, BrokenBarrierError(text))

    def _breakage(self) -> BrokenBarrierError:
        msg = f"{self.label} is broken: {self.broken}"
        return BrokenBarrierError(f"{msg}; every wait() fails until somebody calls reset()")

    # -- changes ---------------------------------------------------------------------------------

    def on_acts(self, _fx: Effects, session_id: str, lane: int, others: list[tuple[str, int]]) -> None:
        """Note who runs the action, and who takes part."""
        self.actor = Owner(session_id, lane)
        self.seats = {Owner(*other): seat for seat, other in enumerate(others)}

    def on_acted(self, _fx: Effects, absent: list[tuple[str, int, int]]) -> None:
        """Note that the action is done, and whom the answer could not be given yet."""
        self.owed.update({Owner(session_id, lane): seat for session_id, lane, seat in absent})
        self._clear_round()

    def on_paid(self, _fx: Effects, session_id: str, lane: int) -> None:
        """Note that nothing is owed any more."""
        del self.owed[Owner(session_id, lane)]

    def on_broke(self, _fx: Effects, why: str) -> None:
        """Note that it is broken."""
        self.broken = why
        self._clear_round()

    def on_reset(self, _fx: Effects) -> None:
        """Note that it is whole again, and the round void."""
        self.broken = ""
        self._clear_round()

    def _clear_round(self) -> None:
        self.actor = None
        self.seats = {}

    # -- peers that are gone ---------------------------------------------------------------------

    def forget_waiter(self, fx: Effects, waiter: Waiter) -> None:
        """Drop a parked call; the barrier breaks, unless it was only waiting for the next round."""
        super().forget_waiter(fx, waiter)
        if waiter.lot is not self.newcomers:
            self._break(fx, "one of its parties is gone")

    def forget_lane(self, fx: Effects, lane: Lane) -> None:
        """Break the barrier if a thread ended that was in the round."""
        self._forget(fx, [Owner(lane.session.id, lane.number)])

    def forget_session(self, fx: Effects, session: Session) -> None:
        """Break the barrier if the dead session was in the round."""
        known = (*self.owed, *self.seats, *([self.actor] if self.actor else []))
        self._forget(fx, [owner for owner in known if owner.session == session.id])

    def _forget(self, fx: Effects, owners: list[Owner]) -> None:
        for owner in owners:
            if owner in self.owed:
                self.change(fx, "paid", *owner)
            elif owner == self.actor:
                self._break(fx, "the party that ran its action is gone")
            elif owner in self.seats:
                self._break(fx, "one of its parties is gone")

    def owners(self) -> Iterable[str]:
        """Return the sessions that are in the round, or owe a wait."""
        actor = () if self.actor is None else (self.actor,)
        return {owner.session for owner in (*self.owed, *self.seats, *actor)}

    def rebuild(self) -> Iterator[Change]:
        """Yield what is owed, then the round or why there is none."""
        if self.owed:
            yield "acted", ([(*owner, seat) for owner, seat in self.owed.items()],)
        if self.actor is not None:
            yield "acts", (*self.actor, [tuple(owner) for owner in self.seats])
        if self.broken:
            yield "broke", (self.broken,)

    # -- looking ---------------------------------------------------------------------------------

    def _n_waiting(self) -> int:
        return len(self.fillers) if self.actor is None else self.parties

    def lots(self) -> Iterable[ParkingLot]:
        """Return who fills a round, who waits for its action, and who waits for the next round."""
        return (self.fillers, self.seated, self.newcomers)

    def state(self) -> tuple[str, Owner | None, dict[Owner, int], dict[Owner, int]]:
        """Return why it is broken, who runs the action, the seats of the others, and what is owed."""
        return self.broken, self.actor, dict(self.seats), dict(self.owed)

    def statistics(self) -> dict[str, Any]:
        """Return parties, how many wait, whether and why it is broken, and who runs the action."""
        about = {"parties": self.parties, "waiters": self._n_waiting(), "broken": self.broken}
        return {**about, "actor": self.actor, "newcomers": len(self.newcomers)}

    def validate(self) -> None:
        """Raise AssertionError if somebody waits for a round that is full, broken or over."""
        super().validate()
        assert len(self.fillers) < self.parties
        assert not (self.broken and any(map(len, self.lots())))
        if self.actor is None:
            assert not self.seats
            assert not len(self.seated)
            assert not len(self.newcomers)
        else:
            assert not len(self.fillers)
            assert {Owner.of(call) for call in self.seated} <= set(self.seats)
            assert len(self.seats) + 1 == self.parties
