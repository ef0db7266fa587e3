"""With much in store: puts into a queue that holds many items, another client's pauses while it is filled,
and a restart with all of them.

Rules:
- Beside the server that is filled is one that is not. Slices of puts alternate between both, before and
  after: the ratio is that of after to that of before, as two servers that hold the same differ by some
  percent.
- Nobody else calls meanwhile.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from tests.bench.children import Child, ChildError
from tests.bench.rows import Figures, Result, Row, Section, Target
from tests.bench.runner import Runner, syncs_s
from tests.bench.sides import SIDES, Address, Side, new_folder, start_ours
from tests.bench.tables import cell, every, line

__all__ = ["SECTION"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored(Row):
    """So many items."""

    items: int
    most_rounds: int = 1
    sides: tuple[str, ...] = ("ours", "kept")


LEAST, MOST_MS, MOST_S = 0.9, 50.0, 10.0
SLICES = 8  # pairs of them
ROWS = (
    Stored(
        title="1,000,000 items stored",
        items=1_000_000,
        wanted=(
            *(Target(side, "", LEAST, key="ratio", unit=" of puts/s with none") for side in ("ours", "kept")),
            *(
                Target(side, "", MOST_MS, key="longest_ms", most=True, unit=" ms pause")
                for side in ("ours", "kept")
            ),
            Target("kept", "", MOST_S, key="restart_s", most=True, unit=" s to be back"),
        ),
    ),
)


def measure(runner: Runner, row: Stored, side: Side) -> Figures:
    """Measure on a fresh server, which is killed and started again at the end if it keeps its state."""
    count = runner.count(row.items, 1000)
    keeps = side.key == "kept"
    disk = {"disk_ms": max(syncs_s(500)) * 1e3} if keeps else {}
    with ExitStack() as stack:
        options = [("--data", new_folder()) if keeps else () for _ in range(2)]
        servers = [start_ours(*words) for words in options]
        for server, _address in servers:
            stack.enter_context(server)
        name = runner.name()
        figures = _fill(runner, servers, side.station, name, count)
        servers[1][0].process.kill()
    return figures | disk | (_restart(runner, options[1], side.station, name, count) if keeps else {})


def _fill(
    runner: Runner, servers: list[tuple[Child, Address]], station: str, name: str, count: int
) -> Figures:
    """Measure puts before and after the second server's queue is filled, and the pauses meanwhile."""
    *putters, watcher = runner.crew(3)
    for putter, (_server, address) in zip(putters, servers, strict=True):
        runner.ask(putter, do="prepare", work="put", name=name, station=station, address=address)
    where = {"station": station, "address": servers[1][1]}
    before = _puts(runner, servers, putters)
    runner.ask(watcher, do="prepare", work="dict", name=runner.name(), **where)
    runner.ask(watcher, do="watch")
    putters[1].tell(do="load", kind="items", name=name, count=count)
    filled = putters[1].hear(runner.settings.patience_s * 2)
    longest_ms = runner.ask(watcher, do="watched")["longest_ms"]
    after = _puts(runner, servers, putters)
    runner.ask_all([*putters, watcher], do="leave")
    return {
        "stored": float(count),
        "fill_rate": count / filled["seconds"],
        "rate": after["rate"],
        "ratio": after["ratio"] / before["ratio"],
        "cpu_ratio": after["cpu_ratio"] / before["cpu_ratio"],
        "longest_ms": longest_ms,
    }


def _puts(runner: Runner, servers: list[tuple[Child, Address]], putters: list[Child]) -> Figures:
    """Put into both by turns; return the second one's rate, and how it and processor times compare."""
    rates: list[list[float]] = [[], []]
    used_s, puts = [0.0, 0.0], [0, 0]
    for number in range(SLICES):
        for which in (0, 1) if number % 2 else (1, 0):
            before_s = servers[which][0].cpu_s()
            answer = runner.ask(putters[which], do="go", seconds=runner.settings.seconds / 2)
            used_s[which] += servers[which][0].cpu_s() - before_s
            puts[which] += answer["count"]
            rates[which].append(answer["count"] / answer["seconds"])
    return {
        "rate": statistics.median(rates[1]),
        "ratio": statistics.median(full / empty for empty, full in zip(*rates, strict=True)),
        "cpu_ratio": used_s[1] / puts[1] * puts[0] / used_s[0],
    }


def _restart(runner: Runner, options: tuple[str, ...], station: str, name: str, least: int) -> Figures:
    """Start a server that was killed; it must have all items."""
    begin = time.perf_counter()
    server, address = start_ours(*options)
    took_s = time.perf_counter() - begin
    with server:
        [looker] = runner.crew(1)
        runner.ask(looker, do="prepare", work="look", name=name, station=station, address=address)
        found = runner.ask(looker, do="ask")
        runner.ask(looker, do="leave")
    if found["answer"] < least:
        raise ChildError(f"{found['answer']} items came back of {least} and some")
    return {"restart_s": took_s}


def tables(results: Sequence[Result]) -> list[str]:
    """Return one table with a line for each server."""
    lines: list[str] = []
    for result in results:
        count = next((int(figures["stored"]) for figures in every(result)), result.row.items)
        lines += [
            f"A queue is filled with {count:,} items, 256 a call, while another client goes on with a",
            "dict's set and get; in the end the server is killed. Puts are one by one, by one client. Their",
            "rate, and the server's processor time for each, are compared with those of a server beside it",
            "that is not filled, after and before. The disk's pause is the longest of 500 times that it kept",
            f"one page more, before. Wanted: puts at {LEAST:g} of the rate, no pause over {MOST_MS:g} ms,",
            f"back within {MOST_S:g} s.",
            "",
            "| server | items/s | puts/s | to none | time to none | pause, ms | disk's, ms | restart, s |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        names = ("fill_rate", "rate", "ratio", "cpu_ratio", "longest_ms", "disk_ms", "restart_s")
        lines += [
            line([SIDES[key].title, *(cell(result, key, it) for it in names)]) for key in result.samples
        ]
    return lines


SECTION = Section("stored", "With much in store", ROWS, measure, tables)
