"""With much in store: puts into an empty queue and into one that holds many items, another client's pauses
while it is filled, and a restart with all of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.children import Child, ChildError
from tests.bench.rows import Figures, Result, Row, Section, Target
from tests.bench.runner import Runner, syncs_s
from tests.bench.sides import SIDES, Side, new_folder, start_ours
from tests.bench.tables import cell, every, line

__all__ = ["SECTION"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored(Row):
    """So many items."""

    items: int
    most_rounds: int = 1
    sides: tuple[str, ...] = ("ours", "kept")


LEAST, MOST_MS, MOST_S = 0.9, 50.0, 10.0
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
    disk = {"disk_ms": max(syncs_s(500)) * 1e3} if side.key == "kept" else {}
    options = ("--data", new_folder()) if side.key == "kept" else ()
    server, address = start_ours(*options)
    with server:
        name, where = runner.name(), {"station": side.station, "address": address}
        figures = _fill(runner, server, where, name, count)
        server.process.kill()
    return figures | disk | (_restart(runner, options, where, name, count) if options else {})


def _fill(runner: Runner, server: Child, where: dict[str, Any], name: str, count: int) -> Figures:
    """Measure puts before and after the queue is filled, and the pauses meanwhile."""
    putter, watcher = runner.crew(2)
    runner.ask(putter, do="prepare", work="put", name=name, **where)
    runner.ask(watcher, do="prepare", work="dict", name=runner.name(), **where)
    empty = _puts(runner, putter, server)
    runner.ask(watcher, do="watch")
    putter.tell(do="load", kind="items", name=name, count=count)
    filled = putter.hear(runner.settings.patience_s * 2)
    full = _puts(runner, putter, server)
    longest_ms = runner.ask(watcher, do="watched")["longest_ms"]
    runner.ask_all([putter, watcher], do="leave")
    return {
        "stored": float(count),
        "fill_rate": count / filled["seconds"],
        "rate": full["rate"],
        "ratio": full["rate"] / empty["rate"],
        "cpu_ratio": full["server_us"] / empty["server_us"],
        "longest_ms": longest_ms,
    }


def _puts(runner: Runner, putter: Child, server: Child) -> Figures:
    before_s = server.cpu_s()
    answer = runner.ask(putter, do="go", seconds=runner.settings.seconds * 2)
    used_s = server.cpu_s() - before_s
    return {"rate": answer["count"] / answer["seconds"], "server_us": used_s / answer["count"] * 1e6}


def _restart(
    runner: Runner, options: tuple[str, ...], where: dict[str, Any], name: str, least: int
) -> Figures:
    """Start a server that was killed; it must have all items."""
    begin = time.perf_counter()
    server, address = start_ours(*options)
    took_s = time.perf_counter() - begin
    with server:
        [looker] = runner.crew(1)
        runner.ask(looker, do="prepare", work="look", name=name, **{**where, "address": address})
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
            f"A queue is filled with {count:,} items, 256 a call, while another client goes on with a dict's",
            "set and get; then the server is killed. Puts are one by one, by one client; their rate and the",
            "server's processor time for each are beside those with nothing stored. The disk's pause is the",
            "longest of 500 times that it kept one page more, before. Wanted: puts at",
            f"{LEAST:g} of the rate, no pause over {MOST_MS:g} ms, back within {MOST_S:g} s.",
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
