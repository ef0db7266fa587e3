"""Arguments that ask for everything: numbers, ranges and times beyond all bounds cost nobody anything.

Every operation of the table, on an object in which it finds something to do, with each of its arguments
replaced by each extreme. An answer is expected, a result or an error; not which.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from tests.contract.cases import CASES, Case
from tests.integration.raw import Raw
from tests.security.attackers import unharmed
from tests.unit.net.stage import Closed, RawClient

from mpshared.ops import BY_NAME, TIMEOUT
from mpshared.wire.own.frames import Failed, Reply

FAR = 1 << 62
NUMBERS = [FAR, (1 << 63) - 1, (1 << 64) - 1, -FAR, -1, 1e308, float("inf"), float("nan"), 5e-324]
EXTREMES: list[Any] = [
    *NUMBERS,
    *([[0, FAR]], [[1, FAR], [1, FAR]], [[FAR, FAR]], [[0, (1 << 64) - 1]], [FAR], [1e308]),
    *([0, FAR, 1], [None, None, -FAR], [-FAR, FAR, 1], [FAR, 0, -1], [["0123456789abcdef", FAR]]),
    *({name: n} for name in ("delay", "expires", "retries", "priority", "timeout") for n in NUMBERS[:6]),
]
SETTINGS = [
    *product(["queue"], ["maxsize", "max_attempts"]),
    *product(["semaphore"], ["value", "bounded"]),
    *product(["barrier"], ["parties", "timeout"]),
    *product(["array"], ["size", "numbers", "typecode"]),
    *product(["pool"], ["processes", "max_attempts", "max_tasks"]),
]


class Attacker:
    """Makes calls, whatever becomes of its connection."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._program: RawClient = raw.program()

    def call(self, name: str, target: str, args: list[Any], blobs: Any = ()) -> Reply | Failed | None:
        """Return the answer; None, and a new connection, where the server closed it."""
        try:
            self._program.send(self._program.encode(name, target, *args, blobs=blobs))
            event = self._program.next_event()
        except (Closed, ConnectionError):
            event = None
        assert event is None or isinstance(event, Reply | Failed)
        if event is None or event.number == 0:
            self._program = self._raw.program()
        return event

    def prepare(self, case: Case) -> str:
        """Return the ident of an object that is as the case wants it."""
        if case.kind == "cluster":
            return ""
        settings = dict(case.settings)
        ident = self._open(case, settings)
        other = self._open(case, settings | {"peer": ident}) if case.kind == "pipe" else ident
        for method, args, blobs in case.before:
            assert isinstance(self.call(f"{case.kind}.{method}", other, args, blobs), Reply)
        return ident

    def _open(self, case: Case, settings: dict[str, Any]) -> str:
        name = settings.get("name")
        others = {key: value for key, value in settings.items() if key != "name"}
        opened = self.call("cluster.open", "", [case.kind, name, others, False, None], case.first)
        assert isinstance(opened, Reply), opened
        ident: str = opened.result[0]
        return ident


def replaced(case: Case) -> list[list[Any]]:
    """Return argument lists, each with one extreme; what would wait waits for nothing."""
    names = [arg.name for arg in BY_NAME[case.name].args]
    calm = [0 if name == TIMEOUT.name else arg for name, arg in zip(names, case.args, strict=True)]
    places = [at for at, name in enumerate(names) if name != TIMEOUT.name]
    return [[*calm[:at], extreme, *calm[at + 1 :]] for at in places for extreme in EXTREMES]


def test_whatever_is_asked_for_is_answered_and_holds_nobody_up(server, raw):
    attacker = Attacker(raw)
    with unharmed(server):
        for case in CASES:
            ident = attacker.prepare(case)
            for args in replaced(case):
                answer = attacker.call(case.name, ident, args, case.blobs)
                if isinstance(answer, Failed) and answer.code == "no_object":
                    ident = attacker.prepare(case)


def test_nor_does_an_object_of_such_settings(server, raw):
    attacker = Attacker(raw)
    with unharmed(server):
        for kind, setting in SETTINGS:
            for extreme in EXTREMES:
                attacker.call("cluster.open", "", [kind, None, {setting: extreme}, False, None])
                attacker.call("cluster.open", "", [kind, None, {}, False, extreme])
