"""Small jobs: one submitter, two worker processes; by `multiprocessing` on pipes, its recipe, and ours."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.rows import Figures, Result, Row, Section, Target
from tests.bench.runner import Runner
from tests.bench.sections import recipe
from tests.bench.sides import Address, Side, start_workers
from tests.bench.stations import WORKERS
from tests.bench.tables import Column, figure, table, times, wanted

__all__ = ["SECTION", "Jobs", "measure", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs(Row):
    """What a pool does, and how many jobs on each side."""

    sides: tuple[str, ...] = ()
    work: str
    jobs: dict[str, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "sides", tuple(self.jobs))


ROWS = (
    Jobs(
        title="`imap_unordered`, chunks of 1",
        work="imap",
        jobs={"pipes": 40_000, "std": 5_000, "ours": 200_000},
        wanted=(Target("ours", "std", 80), Target("ours", "pipes", 8)),
    ),
    Jobs(
        title="`executor().submit` each",
        work="futures",
        jobs={"pipes": 10_000, "std": 5_000, "ours": 100_000},
        wanted=(Target("ours", "pipes", 12),),
    ),
    Jobs(
        title="`Pool.map`, its own chunks",
        work="map",
        jobs={"pipes": 1_000_000, "ours": 1_000_000},
        wanted=(Target("ours", "pipes", 0.8),),
    ),
)


def measure(runner: Runner, row: Jobs, side: Side) -> Figures:
    """Measure one row on one side."""
    jobs = runner.count(row.jobs[side.key], 100)
    address: Address = runner.server(side.server)[1] if side.server else ("", 0)
    if side.key == "std":
        return recipe.submit(runner, side, address, recipe.PLAIN[0], jobs)
    return run(runner, side, address, row.work, jobs)


def run(runner: Runner, side: Side, address: Address, work: str, jobs: int, **more: Any) -> Figures:
    """Let a pool do so many jobs, with workers of ours where it has none of its own."""
    submitter, name = runner.crew(1, side)[0], runner.name()
    order = {"station": side.station, "address": address, "work": work, "jobs": jobs, **more}
    ours = side.station == "ours"
    with start_workers(address, name, WORKERS) if ours else contextlib.nullcontext():
        answer = runner.ask(submitter, do="jobs", **order)
        runner.ask(submitter, do="leave")
    figures = {"rate": answer["count"] / answer["seconds"], "seconds": answer["seconds"]}
    return figures | {key: answer[key] for key in ("p50_us", "p99_us") if key in answer}


COLUMNS = (
    Column("jobs go by", lambda result: result.row.title, right=False),
    figure("pipes", "pipes"),
    figure("recipe", "std"),
    figure("ours", "ours"),
    times("to pipes", "ours", "pipes"),
    times("to the recipe", "ours", "std"),
    wanted(),
)


def tables(results: Sequence[Result]) -> list[str]:
    """Return the one table."""
    return [
        "Jobs per second of `operator.neg`, every result back and checked: by `multiprocessing` on pipes of",
        "one machine, by its recipe over TCP (one put, one get a job), and by ours through the server.",
        "",
        *table(results, COLUMNS),
    ]


SECTION = Section("jobs", "Small jobs, two workers", ROWS, measure, tables)
