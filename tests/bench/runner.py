"""Run the rows: rounds over sides, drivers that do the calls, samples that are kept.

Rules:
- Interleaved: within a round a row visits its sides one after the other, and each round begins with another
  side, so that the drift of the machine falls on all alike. Ratios are taken within a round.
- A side that fails is noted with its error, its drivers and its server are replaced, and the run goes on.
- Everything that was started is ended, whatever happens.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import psutil
from tests.bench import environments
from tests.bench.children import Child, ChildError
from tests.bench.rows import Figures, Result, Row, Section
from tests.bench.sides import SIDES, Address, Side, new_folder, start_server

__all__ = ["EVERYWHERE", "FIRST", "LAST", "Runner", "Settings", "syncs_s"]

EVERYWHERE = tuple(sorted(os.sched_getaffinity(0))) if sys.platform == "linux" else ()
FIRST, LAST = EVERYWHERE[:1], EVERYWHERE[-1:]


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how often."""

    rounds: int = 3
    seconds: float = 0.5
    scale: float = 1.0
    patience_s: float = 90.0


class Runner:
    """Own the servers and the drivers of one run."""

    def __init__(self, settings: Settings, only: frozenset[str]) -> None:
        """Prepare a run of the sides named in `only`; nothing is started yet."""
        self.settings, self.only = settings, only
        self._servers: dict[str, tuple[Child, Address]] = {}
        self._drivers: dict[str, list[Child]] = {}
        self._names = 0

    def close(self) -> None:
        """End every process."""
        self._end_drivers()
        for server, _address in self._servers.values():
            server.end()
        self._servers = {}

    def run(self, section: Section, row: Row) -> Result:
        """Measure one row on all its sides, in all rounds."""
        result = Result(row)
        sides = [key for key in row.sides if key in self.only]
        for number in range(min(self.settings.rounds, row.most_rounds)):
            turn = number % max(1, len(sides))
            for key in sides[turn:] + sides[:turn]:
                result.samples.setdefault(key, []).append(self._try(section, SIDES[key], result))
        return result

    def _try(self, section: Section, side: Side, result: Result) -> Figures | None:
        if side.key in result.failures:  # it would fail again, after as long a wait
            return None
        try:
            return section.measure(self, result.row, side)
        except (ChildError, OSError, psutil.Error) as error:
            result.failures[side.key] = str(error)
            print(f"FAILED: {side.title}: {error}", file=sys.stderr)
            self._start_afresh(side)
            return None

    def _start_afresh(self, side: Side) -> None:
        self._end_drivers(1)
        if side.server in self._servers:
            self._servers.pop(side.server)[0].end()

    def _end_drivers(self, patience_s: float = 5) -> None:
        crews, self._drivers = self._drivers, {}
        for driver in (driver for crew in crews.values() for driver in crew):
            driver.end(patience_s)

    # --- what sections need -----------------------------------------------------------------------

    def server(self, kind: str) -> tuple[Child, Address]:
        """Return the server of this kind and its address; it is started when it is first asked for."""
        if kind not in self._servers:
            self._servers[kind] = start_server(kind)
        return self._servers[kind]

    def crew(self, count: int, side: Side | None = None) -> list[Child]:
        """Return so many drivers, on the Python that has what the side needs.

        No two kinds of client share them: ours, for one, has malloc keep what large values leave.
        """
        peer, station = (side.peer, side.station) if side else ("", "")
        crew = self._drivers.setdefault(f"{peer}/{station}", [])
        while len(crew) < count:
            crew.append(Child(environments.python_of(peer), "-m", "tests.bench.driver"))
        return crew[:count]

    def count(self, number: int, least: int) -> int:
        """Return how many jobs or clients to take where a full run takes `number`."""
        return max(least, int(number * self.settings.scale))

    def name(self) -> str:
        """Return a name that no object has yet."""
        self._names += 1
        return f"bench-{self._names}"

    def ask_all(self, crew: list[Child], **fields: Any) -> list[Any]:
        """Tell all drivers the same, but for their `index`; return what they answer."""
        for index, driver in enumerate(crew):
            driver.tell(index=index, **fields)
        return [driver.hear(self.settings.patience_s) for driver in crew]

    def ask(self, driver: Child, **fields: Any) -> Any:
        """Tell one driver, return what it answers."""
        return self.ask_all([driver], **fields)[0]


def syncs_s(times: int) -> list[float]:
    """Return how many seconds the disk takes to keep one page more, so many times."""
    took = []
    with tempfile.TemporaryFile(dir=new_folder()) as file:
        for _ in range(times):
            begin = time.perf_counter()
            os.write(file.fileno(), bytes(4096))
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - begin)
    return took
