"""Run the rows: rounds over sides, drivers that do the calls, samples that are kept.

Rules:
- Interleaved: within a round a row visits its sides one after the other, and each round begins with another
  side, so that the drift of the machine falls on all alike. Ratios are taken within a round.
- A side that fails is noted with its error, its drivers and its server are replaced, and the run goes on.
- Everything that was started is ended, whatever happens.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any

import psutil
from tests.bench.children import Child, ChildError
from tests.bench.rows import ANYWHERE, APART, PLAIN, TOGETHER, Durable, Idle, Jobs, Pairs, Recipe, Row, Stored
from tests.bench.sides import SIDES, Address, Side, new_folder, start_ours, start_server, start_workers
from tests.bench.stations import WORKERS

__all__ = ["Figures", "Result", "Runner", "Settings"]

EVERYWHERE = tuple(sorted(os.sched_getaffinity(0))) if sys.platform == "linux" else ()
PLACES = {  # of the server, of the clients
    ANYWHERE: (EVERYWHERE, EVERYWHERE),
    TOGETHER: (EVERYWHERE[:1], EVERYWHERE[:1]),
    APART: (EVERYWHERE[:1], EVERYWHERE[-1:]),
}
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how often."""

    rounds: int = 3
    seconds: float = 0.5
    scale: float = 1.0
    patience_s: float = 90.0


@dataclass(slots=True)
class Result:
    """One row's samples, a list by round for each side (None: failed), and what failed."""

    row: Row
    samples: dict[str, list[Figures | None]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class Runner:
    """Own the servers and the drivers of one run."""

    def __init__(self, settings: Settings, only: frozenset[str]) -> None:
        """Prepare a run of the sides named in `only`; nothing is started yet."""
        self.settings, self.only = settings, only
        self.servers: dict[str, tuple[Child, Address]] = {}
        self.drivers: list[Child] = []
        self.names = 0

    def close(self) -> None:
        """End every process."""
        for child in [*self.drivers, *(server for server, _address in self.servers.values())]:
            child.end()
        self.drivers, self.servers = [], {}

    def run(self, row: Row) -> Result:
        """Measure one row on all its sides, in all rounds."""
        result = Result(row)
        sides = [key for key in row.sides if key in self.only]
        rounds = 1 if isinstance(row, Idle | Stored) else self.settings.rounds
        for number in range(rounds):
            turn = number % max(1, len(sides))
            for key in sides[turn:] + sides[:turn]:
                result.samples.setdefault(key, []).append(self._try(row, SIDES[key], result))
        return result

    def _try(self, row: Row, side: Side, result: Result) -> Figures | None:
        if side.key in result.failures:  # it would fail again, after as long a wait
            return None
        try:
            if isinstance(row, Pairs):
                return self._pairs(row, side)
            if isinstance(row, Jobs):
                return self._jobs(row, side)
            if isinstance(row, Durable):
                return self._durable(row, side)
            if isinstance(row, Stored):
                return self._stored(row, side)
            return self._recipe(row, side) if isinstance(row, Recipe) else self._idle(row, side)
        except (ChildError, OSError, psutil.Error) as error:
            result.failures[side.key] = str(error)
            print(f"FAILED: {side.title}: {error}", file=sys.stderr)
            self._start_afresh(side)
            return None

    def _start_afresh(self, side: Side) -> None:
        for driver in self.drivers:
            driver.end(1)
        self.drivers = []
        if side.server in self.servers:
            self.servers.pop(side.server)[0].end()

    # --- what every row needs ---------------------------------------------------------------------

    def _server(self, kind: str) -> tuple[Child, Address]:
        if kind not in self.servers:
            self.servers[kind] = start_server(kind)
        return self.servers[kind]

    def _crew(self, count: int) -> list[Child]:
        while len(self.drivers) < count:
            self.drivers.append(Child("-m", "tests.bench.driver"))
        return self.drivers[:count]

    def _name(self) -> str:
        self.names += 1
        return f"bench-{self.names}"

    def _all(self, crew: list[Child], **fields: Any) -> list[Any]:
        for index, driver in enumerate(crew):
            driver.tell(index=index, **fields)
        return [driver.hear(self.settings.patience_s) for driver in crew]

    # --- rows -------------------------------------------------------------------------------------

    def _pairs(self, row: Pairs, side: Side) -> Figures:
        server, address = self._server(side.server)
        crew = self._crew(row.clients)
        near, far = PLACES[row.place]
        server.pin(near)
        for driver in crew:
            driver.pin(far)
        try:
            return self._measure_pairs(crew, server, address, side, row.work)
        finally:
            for child in (server, *crew):
                if child.alive:
                    child.pin(EVERYWHERE)

    def _measure_pairs(
        self, crew: list[Child], server: Child, address: Address, side: Side, work: str
    ) -> Figures:
        self._all(crew, do="prepare", station=side.station, address=address, work=work, name=self._name())
        before_s = server.cpu_s()
        answers = self._all(crew, do="go", seconds=self.settings.seconds)
        used_s = server.cpu_s() - before_s
        self._all(crew, do="leave")
        return {
            "rate": sum(answer["count"] / answer["seconds"] for answer in answers),
            "p50_us": sorted(answer["p50_us"] for answer in answers)[len(answers) // 2],
            "p99_us": max(answer["p99_us"] for answer in answers),
            "server_us": used_s / sum(answer["count"] for answer in answers) * 1e6,
        }

    def _recipe(self, row: Recipe, side: Side) -> Figures:
        _server, address = self._server(side.server)
        name, where = self._name(), {"station": side.station, "address": address}
        submitter, *workers = self._crew(1 + WORKERS)
        how, jobs = row.flows[side.key]
        order = {
            "name": name,
            "how": how,
            "jobs": max(16, int(jobs * self.settings.scale)),
            "bytes": row.size,
            **where,
        }
        if side.station == "ours":
            with start_workers(address, name, WORKERS) as crew:
                answer = self._submit(submitter, order, crew)
        else:
            self._all(workers, do="work", name=name, **where)
            answer = self._submit(submitter, order, None)
            for worker in workers:
                worker.hear(self.settings.patience_s)
            self._all(workers, do="leave")
        submitter.ask(self.settings.patience_s, do="leave")
        return {"rate": answer["count"] / answer["seconds"]} | {
            key: answer[key] for key in ("p50_us", "p99_us") if key in answer
        }

    def _submit(self, submitter: Child, order: dict[str, Any], crew: Child | None) -> Any:
        """Let the jobs run, then stop the workers; a `crew` must then end by itself."""
        answer = submitter.ask(self.settings.patience_s, do="submit", **order)
        submitter.ask(self.settings.patience_s, do="pills", name=order["name"], count=WORKERS)
        if crew is not None:
            crew.wait(10)
        return answer

    def _jobs(self, row: Jobs, side: Side) -> Figures:
        jobs = row.jobs[side.key]
        if side.key == "std":
            return self._recipe(Recipe(row.title, 0.0, {"std": (PLAIN[0], jobs)}), side)
        address: Address = self._server(side.server)[1] if side.server else ("", 0)
        submitter, name = self._crew(1)[0], self._name()
        order: dict[str, Any] = {"station": side.station, "address": address, "work": row.work}
        order["jobs"] = max(100, int(jobs * self.settings.scale))
        with start_workers(address, name, WORKERS) if side.server else contextlib.nullcontext():
            answer = submitter.ask(self.settings.patience_s, do="jobs", **order)
            submitter.ask(self.settings.patience_s, do="leave")
        return {"rate": answer["count"] / answer["seconds"]}

    def _durable(self, row: Durable, side: Side) -> Figures:
        """Measure the row's work, and how long the disk takes to keep a page."""
        work = row.work
        figures = self._pairs(work, side) if isinstance(work, Pairs) else self._jobs(work, side)
        return figures | ({"sync_us": statistics.median(_syncs_s(100)) * 1e6} if side.key == "kept" else {})

    def _stored(self, row: Stored, side: Side) -> Figures:
        """Measure on a fresh server, which is killed and started again at the end if it keeps its state."""
        count = max(1000, int(row.items * self.settings.scale))
        disk = {"disk_ms": max(_syncs_s(500)) * 1e3} if side.key == "kept" else {}
        options = ("--data", new_folder()) if side.key == "kept" else ()
        server, address = start_ours(*options)
        with server:
            putter, watcher = self._crew(2)
            name, where = self._name(), {"station": side.station, "address": address}
            self._all([putter], do="prepare", work="put", name=name, **where)
            self._all([watcher], do="prepare", work="dict", name=self._name(), **where)
            empty = self._puts(putter, server)
            self._all([watcher], do="watch")
            filled = putter.ask(self.settings.patience_s * 2, do="fill", count=count)
            full = self._puts(putter, server)
            longest_ms = self._all([watcher], do="watched")[0]["longest_ms"]
            self._all([putter, watcher], do="leave")
            server.process.kill()
        figures = {
            "stored": float(count),
            "fill_rate": count / filled["seconds"],
            "rate": full["rate"],
            "ratio": full["rate"] / empty["rate"],
            "cpu_ratio": full["server_us"] / empty["server_us"],
            "longest_ms": longest_ms,
        }
        return figures | disk | (self._restart(options, where, name, count) if options else {})

    def _puts(self, putter: Child, server: Child) -> Figures:
        before_s = server.cpu_s()
        [answer] = self._all([putter], do="go", seconds=self.settings.seconds * 2)
        used_s = server.cpu_s() - before_s
        return {"rate": answer["count"] / answer["seconds"], "server_us": used_s / answer["count"] * 1e6}

    def _restart(self, options: tuple[str, ...], where: dict[str, Any], name: str, least: int) -> Figures:
        """Start a server that was killed; it must have all items."""
        begin = time.perf_counter()
        server, address = start_ours(*options)
        took_s = time.perf_counter() - begin
        with server:
            looker = self._crew(1)
            where = {**where, "address": address}
            self._all(looker, do="prepare", work="look", name=name, **where)
            [found] = self._all(looker, do="ask")
            self._all(looker, do="leave")
        if found["answer"] < least:
            raise ChildError(f"{found['answer']} items came back of {least} and some")
        return {"restart_s": took_s}

    def _idle(self, row: Idle, side: Side) -> Figures:
        """Measure on a fresh server: one that has worked keeps memory, and would hide what clients take."""
        count = max(100, int(row.clients * self.settings.scale))
        server, address = start_server(side.server)
        with server:
            caller, *holders = self._crew(3)
            server.pin(EVERYWHERE[:1])
            caller.pin(EVERYWHERE[-1:])
            alone = self._measure_pairs([caller], server, address, side, "dict")
            before, threads = server.rss_bytes(), server.threads()
            for holder in holders:
                holder.tell(do="hold", station=side.station, address=address, count=count // len(holders))
            for holder in holders:
                holder.hear(self.settings.patience_s * 2)
            held = server.rss_bytes() - before
            figures = {
                "kib": held / count / 1024,
                "threads": float(server.threads() - threads),
                "clients": float(count),
            }
            meanwhile = self._measure_pairs([caller], server, address, side, "dict")
            self._all(holders, do="drop")
            caller.pin(EVERYWHERE)
        return figures | {
            "alone_us": alone["p50_us"],
            "p50_us": meanwhile["p50_us"],
            "p99_us": meanwhile["p99_us"],
        }


def _syncs_s(times: int) -> list[float]:
    """Return how many seconds the disk takes to keep one page more, so many times."""
    took = []
    with tempfile.TemporaryFile(dir=new_folder()) as file:
        for _ in range(times):
            begin = time.perf_counter()
            os.write(file.fileno(), bytes(4096))
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - begin)
    return took
