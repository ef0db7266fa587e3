"""An engine that answers later: proof that nothing above an engine relies on answers that come at once.

It keeps requests and answers back. Each `step` executes one request or delivers one answer, drawn by lot from
those that may be next: calls on the same object, or of the same lane, stay in order; all others mix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from mpserve.core.calls import Call, Lane, Session, SessionInfo
from mpserve.core.ended import Ended
from mpserve.core.t_condition import Condition
from mpserve.engines.base import Deliver, Engine, HandedOver, SessionEnded, Tell, Trouble
from mpserve.engines.memory import MemoryEngine

__all__ = ["LaterEngine"]


class LaterEngine(Engine):
    """A memory engine behind a pile of requests and a pile of answers."""

    deliver: Deliver
    session_ended: SessionEnded
    tell: Tell
    trouble: Trouble
    handed_over: HandedOver

    def __init__(self, inner: MemoryEngine, seed: int) -> None:
        self.inner = inner
        self._random = Random(seed)
        self._requests: list[Call] = []
        self._answers: list[Call] = []
        self._now_s = 0.0
        self.shuffled = 0
        """How often something overtook what came before it."""
        inner.deliver = self._keep
        inner.session_ended = self._tell_of_end
        inner.tell = self._tell_of_event
        inner.trouble = self._tell_of_trouble
        inner.handed_over = self._tell_of_hand_over

    def _keep(self, call: Call) -> None:
        self._answers.append(call)

    def _tell_of_end(self, session: Session) -> None:
        self.session_ended(session)

    def _tell_of_event(self, event: str, fields: dict[str, Any]) -> None:
        self.tell(event, fields)

    def _tell_of_trouble(self, what: str, error: Exception) -> None:
        self.trouble(what, error)

    def _tell_of_hand_over(self) -> None:
        self.handed_over()

    # -- later ---------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Do one thing that is due; False when nothing is."""
        self._requests = [call for call in self._requests if call.lane.running is call]
        self._answers = [call for call in self._answers if call.lane.running is call]
        requests, answers = self._eligible(self._requests), self._eligible(self._answers)
        if not requests and not answers:
            return False
        self._draw(requests, answers)()
        return True

    def _draw(self, requests: list[Call], answers: list[Call]) -> Callable[[], None]:
        at = self._random.randrange(len(requests) + len(answers))
        pile, chosen = (self._requests, requests) if at < len(requests) else (self._answers, answers)
        call = chosen[at if at < len(requests) else at - len(requests)]
        self.shuffled += call is not pile[0]
        pile.remove(call)
        if pile is self._requests:
            return lambda: self.inner.submit(call, self._now_s)
        return lambda: self.deliver(call)

    def _eligible(self, pile: list[Call]) -> list[Call]:
        """Return the calls that none before them stands in the way of."""
        free: list[Call] = []
        taken: set[str] = set()
        for call in pile:
            needs = self._needs(call)
            if not needs & taken and not ("" in needs and taken) and "" not in taken:
                free.append(call)
            taken |= needs
        return free

    def _needs(self, call: Call) -> set[str]:
        """Return the objects that a call touches; "" for all of them."""
        needs = {call.target}
        for position in call.op.objects:
            if position < len(call.args) and isinstance(call.args[position], str):
                needs.add(call.args[position])
        for ident in sorted(needs):
            machine = self.inner.catalogue.objects.get(ident)
            if isinstance(machine, Condition):
                needs.add(machine.settings["lock"])
        return needs

    # -- at once -------------------------------------------------------------------------------------

    def submit(self, call: Call, now_s: float) -> None:
        self._now_s = now_s
        self._requests.append(call)

    def abandon(self, call: Call, now_s: float) -> None:
        self._now_s = now_s
        if call in self._requests:
            self._requests.remove(call)
            return
        if call in self._answers:
            self._answers.remove(call)
        self.inner.abandon(call, now_s)

    def lacks_memory(self) -> None:
        self.inner.lacks_memory()

    def start_session(self, session_id: str, info: SessionInfo, secret: str, now_s: float) -> Session:
        return self.inner.start_session(session_id, info, secret, now_s)

    def find_session(self, session_id: str) -> Session | None:
        return self.inner.find_session(session_id)

    def find_ended(self, session_id: str) -> Ended | None:
        return self.inner.find_ended(session_id)

    def kind_of(self, ident: str) -> str | None:
        return self.inner.kind_of(ident)

    def label_of(self, ident: str) -> str:
        return self.inner.label_of(ident)

    def maker_of(self, name: str, kind: str | None) -> str | None:
        return self.inner.maker_of(name, kind)

    def end_session(self, session: Session, now_s: float, *, parted: bool = True) -> None:
        self.inner.end_session(session, now_s, parted=parted)

    def connected(self, session: Session, now_s: float) -> None:
        self.inner.connected(session, now_s)

    def disconnected(self, session: Session, lanes: Iterable[Lane], now_s: float) -> None:
        self.inner.disconnected(session, lanes, now_s)

    def resume(self, lane: Lane, now_s: float) -> None:
        self.inner.resume(lane, now_s)

    def heard(self, session: Session, speaks_for: Iterable[str], now_s: float) -> None:
        self.inner.heard(session, speaks_for, now_s)

    def close_lane(self, lane: Lane, now_s: float) -> None:
        self.inner.close_lane(lane, now_s)

    def stood(self, since_s: float, now_s: float) -> None:
        self.inner.stood(since_s, now_s)

    def next_deadline_s(self) -> float | None:
        return self.inner.next_deadline_s()

    def advance(self, now_s: float) -> None:
        self._now_s = now_s
        self.inner.advance(now_s)
