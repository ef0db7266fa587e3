"""A rig: an engine and its programs, behind one face: what the contract suite is written against.

`wired_rig` goes through the dispatcher and our protocol, as bytes; `direct_rig` straight into the engine.

    rig = WiredRig("memory", seed=1)          # or "later"; or a DirectRig
    alice = rig.program()                     # a session; alice.thread() is one of its lanes
    a = alice.thread()
    lock = rig.open(a, "lock")
    assert a.ask("lock.acquire", lock, None) is True
    waiting = rig.program().thread().call("lock.acquire", lock, None)
    assert not waiting.answered
    alice.die()                               # all its connections are lost, and grace is over
    assert waiting.value is True

RULES
* Looking at an answer lets a slow engine finish first; between two calls nothing needs to be done.
* After every look each object is validated and compared with one rebuilt from nothing but its records.
* A thread acknowledges, with its next call, the answers it has seen (`Pending.value` and the like).
* Kept answers must not change: those of direct rigs are encoded again at the end and compared.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import count
from random import Random
from typing import Any

from tests.contract.later_engine import LaterEngine
from tests.contract.replay import Replay

from mpserve.core.calls import Session, SessionInfo
from mpserve.core.machine import Machine
from mpserve.core.sessions import REPORT_S
from mpserve.engines.base import Engine
from mpserve.engines.memory import MemoryEngine
from mpshared import errors
from mpshared.values import Blob, size_bytes

__all__ = ["GRACE_S", "TIMEOUT_S", "Pending", "Program", "Rig", "Thread"]

GRACE_S = 0.5
TIMEOUT_S = 30.0


class Pending:
    """A call as its caller sees it."""

    def __init__(self, thread: Thread, name: str, number: int) -> None:
        self.thread = thread
        self.name = name
        self.number = number
        self.arrived: tuple[Any, Sequence[Blob], errors.MpserveError | None] | None = None
        self.seen = False

    def __repr__(self) -> str:
        return f"<{self.name} of {self.thread!r}: {self.arrived}>"

    def arrive(self, result: Any, out: Sequence[Blob], error: errors.MpserveError | None) -> None:
        if self.arrived is None:
            self.arrived = (result, tuple(out), error)
            return
        assert self.arrived[:2] == (result, tuple(out)), f"{self!r} was answered twice, differently"
        assert type(self.arrived[2]) is type(error)

    @property
    def answered(self) -> bool:
        self.thread.rig.settle()
        return self.arrived is not None

    def _look(self) -> tuple[Any, Sequence[Blob], errors.MpserveError | None]:
        assert self.answered, f"{self.name} is not answered"
        self.seen = True
        assert self.arrived is not None
        return self.arrived

    @property
    def value(self) -> Any:
        """The result, or its error raised."""
        result, _, error = self._look()
        if error is not None:
            raise error
        return result

    @property
    def out(self) -> list[Blob]:
        _ = self.value
        return list(self._look()[1])

    @property
    def error(self) -> errors.MpserveError | None:
        return self._look()[2]


class Thread(ABC):
    """One lane."""

    def __init__(self, program: Program, number: int) -> None:
        self.program = program
        self.rig = program.rig
        self.number = number
        self.calls: dict[int, Pending] = {}
        self.sent = 0
        self.acks = True
        """Acknowledge what was seen."""
        self.told = 0
        """What the server was told has arrived."""

    def __repr__(self) -> str:
        return f"<thread {self.number} of {self.program.id}>"

    @property
    def ack(self) -> int:
        """The last number up to which everything was seen; who asks tells the server."""
        acked = 0
        while self.acks and acked < self.sent and (acked + 1 not in self.calls or self.calls[acked + 1].seen):
            acked += 1
        self.told = acked
        return acked

    def call(self, name: str, target: str, *args: Any, blobs: Sequence[Blob] = ()) -> Pending:
        self.sent += 1
        pending = self.calls[self.sent] = Pending(self, name, self.sent)
        self.rig.operations.add(name)
        self.submit(pending, target, list(args), blobs)
        return pending

    def ask(self, name: str, target: str, *args: Any, blobs: Sequence[Blob] = ()) -> Any:
        return self.call(name, target, *args, blobs=blobs).value

    def out(self, name: str, target: str, *args: Any, blobs: Sequence[Blob] = ()) -> list[Blob]:
        return self.call(name, target, *args, blobs=blobs).out

    def fails(self, name: str, target: str, *args: Any, blobs: Sequence[Blob] = ()) -> errors.MpserveError:
        error = self.call(name, target, *args, blobs=blobs).error
        assert error is not None, f"{name} did not fail"
        return error

    @abstractmethod
    def submit(self, pending: Pending, target: str, args: list[Any], blobs: Sequence[Blob]) -> None: ...

    @abstractmethod
    def abandon(self, pending: Pending) -> None:
        """Give a call up, answered or not."""

    @abstractmethod
    def lose(self) -> None:
        """Lose the lane's connection."""

    @abstractmethod
    def back(self) -> None:
        """Have a connection again, and ask again for what has no answer."""

    @abstractmethod
    def end(self) -> None:
        """The thread is over."""


class Program(ABC):
    """One session."""

    id: str

    def __init__(self, rig: Rig, info: SessionInfo) -> None:
        self.rig = rig
        self.info = info
        self.threads: list[Thread] = []
        self._numbers = count(1)
        rig.programs.append(self)

    def thread(self) -> Thread:
        thread = self.make_thread(next(self._numbers))
        self.threads.append(thread)
        return thread

    @property
    def alive(self) -> bool:
        self.rig.settle()
        return self.rig.engine.find_session(self.id) is not None

    @abstractmethod
    def make_thread(self, number: int) -> Thread: ...

    @abstractmethod
    def beat(self, *speaks_for: str) -> None: ...

    @abstractmethod
    def goodbye(self) -> None: ...

    @abstractmethod
    def lose_all(self) -> None:
        """Lose every connection."""

    def die(self) -> None:
        """Lose every connection, for good."""
        self.lose_all()
        self.rig.advance(REPORT_S if self.info.supervisor else GRACE_S)
        assert not self.alive


class Rig(ABC):
    """An engine, a clock, and programs."""

    def __init__(self, engine: str, seed: int) -> None:
        idents = count(1)
        self.inner = MemoryEngine(
            lambda: f"id{next(idents)}", grace_s=GRACE_S, session_timeout_s=TIMEOUT_S, recording=True
        )
        self.later = LaterEngine(self.inner, seed) if engine == "later" else None
        self.engine: Engine = self.later or self.inner
        self.random = Random(seed)
        self.now_s = 1000.0
        self.programs: list[Program] = []
        self.replay = Replay()
        self.operations: set[str] = set()
        self.troubles: list[tuple[str, Exception]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        """What operators are told."""
        self.lost: list[str] = []
        """Sessions that ended without a goodbye."""
        self.hand_overs: list[float] = []
        """When a lock had a new holder for whom others waited."""
        self.engine.handed_over = lambda: self.hand_overs.append(self.now_s)

    def clock(self) -> float:
        return self.now_s

    def program(self, role: str = "program", **more: Any) -> Program:
        info = SessionInfo(**{"role": role, "python": (3, 11), "pid": len(self.programs) + 100, **more})
        return self.make_program(info)

    @abstractmethod
    def make_program(self, info: SessionInfo) -> Program: ...

    def thread(self, **more: Any) -> Thread:
        """Return the only thread of a new program."""
        return self.program(**more).thread()

    def open(
        self,
        thread: Thread,
        kind: str,
        name: str | None = None,
        blobs: Sequence[Blob] = (),
        fresh: bool = False,
        ttl_s: float | None = None,
        **settings: Any,
    ) -> str:
        """Open or create an object; return its ident."""
        found = thread.ask("cluster.open", "", kind, name, settings, fresh, ttl_s, blobs=blobs)
        assert found[1] == kind
        ident: str = found[0]
        return ident

    def machine(self, ident: str) -> Any:
        self.settle()
        return self.inner.catalogue.objects[ident]

    def exists(self, ident: str) -> bool:
        self.settle()
        return ident in self.inner.catalogue.objects

    def waiting(self, ident: str) -> int:
        machine: Machine = self.machine(ident)
        return sum(map(len, machine.lots()))

    def references(self, ident: str) -> int:
        self.settle()
        return self.inner.catalogue.references(ident)

    # -- steps ---------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let a slow engine finish what is due, and check everything."""
        while self.later is not None and self.later.step():
            self.carry()
        self.carry()
        self.check()

    @abstractmethod
    def carry(self) -> None:
        """Carry bytes to their readers."""

    def advance(self, seconds: float) -> None:
        """Let time pass, as a loop does that wakes up at each deadline."""
        self.settle()
        until_s = self.now_s + seconds
        while (deadline_s := self.engine.next_deadline_s()) is not None and deadline_s <= until_s:
            self.now_s = max(self.now_s, deadline_s)
            self.engine.advance(self.now_s)
            self.settle()
        self.now_s = until_s

    def check(self) -> None:
        """Validate every object, and compare all with what their records tell."""
        fx, catalogue = self.inner.fx, self.inner.catalogue
        unfinished = [*fx.answered, *fx.kept, *fx.ended, *fx.closed]
        assert not unfinished, "a turn was left unfinished"
        new, fx.records = fx.records, []
        self.replay.apply(new or ())
        catalogue.validate()
        outputs = [s.output._kept_bytes for s in catalogue.sessions if s.output is not None]
        kept = sum(s.kept_bytes for s in catalogue.sessions) + sum(outputs)
        fx.room.validate(catalogue.objects.values(), kept)
        for session in catalogue.sessions:
            assert session.waiting_bytes == _waiting_bytes(session), session
        assert catalogue.state() == self.replay.state(), "records do not tell all"
        for session in catalogue.sessions:
            for lane in session.lanes.values():
                running = lane.running
                assert running is None or running.waiter or running.answered or self.later, (
                    "a call was dropped"
                )

    def finish(self) -> None:
        """Check everything a last time, also that nothing went wrong unnoticed."""
        self.settle()
        assert not self.troubles, self.troubles
        self.check_short()

    def check_short(self) -> None:
        """Compare all objects with what the shortest records tell, which a compacted journal holds."""
        catalogue = self.inner.catalogue
        short = Replay()
        entries = [("", verb, args) for verb, args in catalogue.rebuild()]
        for ident, machine in catalogue.objects.items():
            entries += [(ident, verb, args) for verb, args in machine.rebuild()]
        short.apply(entries)
        assert short.state() == catalogue.state(), "the short records do not tell all"


def _waiting_bytes(session: Session) -> int:
    """Return the size of the values of a session's calls that wait."""
    lanes = session.lanes.values()
    parked = [lane.running for lane in lanes if lane.running is not None and lane.running.waiter is not None]
    waiting = parked + [call for lane in lanes for call in lane.pending]
    return sum(size_bytes(blob) for call in waiting for blob in call.blobs)
