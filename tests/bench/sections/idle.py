"""Idle clients: what those who do nothing cost a server of their own, and one that works meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.rows import Figures, Result, Row, Section, Target
from tests.bench.runner import EVERYWHERE, FIRST, LAST, Runner
from tests.bench.sections.calls import measure_pairs
from tests.bench.sides import SIDES, Side, start_server
from tests.bench.tables import cell, every, line

__all__ = ["SECTION"]

REDIS_KIB = 9.3  # Redis 7.0.15 on the machine where it was not measured beside


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle(Row):
    """So many clients."""

    clients: int
    most_rounds: int = 1
    sides: tuple[str, ...] = ("std", "ours", "mixed", "bare", "redis")


ROWS = (
    Idle(
        title="idle clients",
        clients=5_000,
        wanted=tuple(
            Target(side, "redis", 0.5, key="kib", most=True, else_base=REDIS_KIB)
            for side in ("ours", "mixed")
        ),
    ),
)


def measure(runner: Runner, row: Idle, side: Side) -> Figures:
    """Measure on a fresh server: one that has worked keeps memory, and would hide what clients take."""
    count = runner.count(row.clients, 100)
    server, address = start_server(side.server)
    with server:
        caller, *holders = runner.crew(3, side)
        server.pin(FIRST)
        caller.pin(LAST)
        alone = measure_pairs(runner, [caller], server, address, side, "dict")
        before, threads = server.rss_bytes(), server.threads()
        for holder in holders:
            holder.tell(do="hold", station=side.station, address=address, count=count // len(holders))
        for holder in holders:
            holder.hear(runner.settings.patience_s * 2)
        held = server.rss_bytes() - before
        more_threads = server.threads() - threads
        meanwhile = measure_pairs(runner, [caller], server, address, side, "dict")
        runner.ask_all(holders, do="drop")
        caller.pin(EVERYWHERE)
    return {
        "kib": held / count / 1024,
        "threads": float(more_threads),
        "clients": float(count),
        "alone_us": alone["p50_us"],
        "p50_us": meanwhile["p50_us"],
        "p99_us": meanwhile["p99_us"],
    }


def tables(results: Sequence[Result]) -> list[str]:
    """Return one table with a line for each server."""
    lines: list[str] = []
    for result in results:
        count = next((int(figures["clients"]) for figures in every(result)), result.row.clients)
        lines += [
            f"{count:,} idle clients; wanted: under half of what Redis takes for one ({REDIS_KIB:g} KiB,",
            "where it is not measured beside), and no thread.",
            "",
            "| server, clients | KiB each | threads more | p50 µs of a dict pair, alone | meanwhile | p99 |",
            "|---|--:|--:|--:|--:|--:|",
        ]
        for key in result.samples:
            found = [cell(result, key, name) for name in ("kib", "threads", "alone_us", "p50_us", "p99_us")]
            lines.append(line([SIDES[key].title, *found]))
    return lines


SECTION = Section("idle", "Idle clients", ROWS, measure, tables)
