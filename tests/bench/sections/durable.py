"""With `--data`: work of other sections on a server that keeps its state, and on one that does not."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.rows import Figures, Result, Row, Section, Target
from tests.bench.runner import Runner, syncs_s
from tests.bench.sections import calls, jobs
from tests.bench.sections.calls import Pairs
from tests.bench.sections.jobs import Jobs
from tests.bench.sides import Side
from tests.bench.tables import Column, figure, table, times, wanted

__all__ = ["SECTION"]

HALF = (Target("kept", "ours", 0.5),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Durable(Row):
    """Work of another section."""

    work: Pairs | Jobs
    sides: tuple[str, ...] = ("ours", "kept")

    @property
    def name(self) -> str:
        """Return the name of the work."""
        return f"{self.work.name}, with --data"


def _durable(work: Pairs | Jobs, wanted: tuple[Target, ...] = HALF) -> Durable:
    return Durable(title=work.title, work=work, wanted=wanted)


ROWS = (
    # a single client waits for the disk, whatever we do
    _durable(Pairs(title="dict: set, get", work="dict"), ()),
    _durable(Pairs(title="queue: put, get", work="queue"), ()),
    _durable(Pairs(title="dict: set, get", work="dict", clients=8)),
    _durable(Pairs(title="queue: put, get", work="queue", clients=8)),
    _durable(
        Jobs(title="`imap_unordered`, chunks of 1", work="imap", jobs={"ours": 200_000, "kept": 200_000})
    ),
)


def measure(runner: Runner, row: Durable, side: Side) -> Figures:
    """Measure the row's work, and how long the disk takes to keep a page."""
    work = row.work
    figures = (
        calls.measure(runner, work, side) if isinstance(work, Pairs) else jobs.measure(runner, work, side)
    )
    return figures | ({"sync_us": statistics.median(syncs_s(100)) * 1e6} if side.key == "kept" else {})


COLUMNS = (
    Column("work", lambda result: result.row.title, right=False),
    Column("clients", lambda result: str(getattr(result.row.work, "clients", "-"))),
    figure("without", "ours"),
    figure("with `--data`", "kept"),
    times("ratio", "kept", "ours"),
    wanted(),
    figure("p50 without", "ours", "p50_us"),
    figure("p50 with", "kept", "p50_us"),
    figure("disk", "kept", "sync_us"),
)


def tables(results: Sequence[Result]) -> list[str]:
    """Return the one table."""
    return [
        "Pairs of calls or jobs per second, with every answer on the disk before it leaves (`--sync full`);",
        "p50 of a pair beside the time that the disk takes to keep one page more, both in µs.",
        "",
        *table(results, COLUMNS),
    ]


SECTION = Section("durable", "With `--data`", ROWS, measure, tables)
