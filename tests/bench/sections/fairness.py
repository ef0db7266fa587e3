"""Fairness: what a client's calls take while another one calls in a tight loop."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from tests.bench.rows import Figures, Result, Row, Section, Target
from tests.bench.runner import Runner
from tests.bench.sides import Side, start_workers
from tests.bench.stations import WORKERS
from tests.bench.tables import Column, figure, table, wanted

__all__ = ["SECTION"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fair(Row):
    """What the busy client does; "" for nothing."""

    work: str
    wanted: tuple[Target, ...] = (Target("ours", "", 5, key="p99_ms", most=True, unit=" ms p99"),)


ROWS = (
    Fair(title="nothing", work="", sides=("std", "ours")),
    Fair(title="a dict's set and get", work="dict", sides=("std", "ours")),
    Fair(title="`put_many`, `get_many` of 100", work="batches", sides=("ours",)),
    Fair(title="`imap_unordered` without end, two workers", work="stream", sides=("ours",)),
)


def measure(runner: Runner, row: Fair, side: Side) -> Figures:
    """Measure the second client's dict pairs while the first goes on."""
    _server, address = runner.server(side.server)
    busy, other = runner.crew(2)
    seconds = runner.settings.seconds * 2
    where = {"station": side.station, "address": address}
    with start_workers(address, runner.name(), WORKERS) if row.work == "stream" else nullcontext():
        runner.ask(other, do="prepare", work="dict", name=runner.name(), **where)
        if row.work:
            runner.ask(busy, do="prepare", work=row.work, name=runner.name(), **where)
            busy.tell(do="go", seconds=seconds + 0.2)
        answer = runner.ask(other, do="go", seconds=seconds)
        if row.work:
            busy.hear(runner.settings.patience_s)
        runner.ask_all([busy, other], do="leave")
    return {
        "p50_ms": answer["p50_us"] / 1e3,
        "p99_ms": answer["p99_us"] / 1e3,
        "longest_ms": answer["longest_us"] / 1e3,
    }


COLUMNS = (
    Column("the busy client does", lambda result: result.row.title, right=False),
    figure("std library: p50", "std", "p50_ms"),
    figure("p99", "std", "p99_ms"),
    figure("ours: p50", "ours", "p50_ms"),
    figure("p99", "ours", "p99_ms"),
    figure("longest", "ours", "longest_ms"),
    wanted(),
)


def tables(results: Sequence[Result]) -> list[str]:
    """Return the one table."""
    return [
        "What a dict's set and get, together, take one client, in ms, while another does one thing over",
        "and over.",
        "",
        *table(results, COLUMNS),
    ]


SECTION = Section("fairness", "Beside a busy client", ROWS, measure, tables)
