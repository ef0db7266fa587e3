"""The recipe: one submitter, two worker processes; each side's submitter moves jobs in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.children import Child
from tests.bench.rows import Figures, Result, Row, Section, Target
from tests.bench.runner import Runner
from tests.bench.sides import Address, Side, start_workers
from tests.bench.stations import WORKERS
from tests.bench.tables import Column, cell, every, figure, table, times, wanted

__all__ = ["SECTION", "Recipe", "measure", "submit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(Row):
    """How each side's jobs go, and how many."""

    sides: tuple[str, ...] = ()
    flows: dict[str, tuple[str, int]]
    size: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sides", tuple(self.flows))


PLAIN, SINGLE, LARGE = ("recipe", 20_000), ("round trip", 500), ("recipe", 64)


def _alike(flow: tuple[str, int]) -> dict[str, tuple[str, int]]:
    return dict.fromkeys(("std", "ours", "mixed", "redis"), flow)


ROWS = (
    Recipe(
        title="one put, one get a job",
        flows=_alike(PLAIN),
        wanted=(Target("ours", "std", 3), Target("mixed", "std", 1.5)),
    ),
    Recipe(
        title="buffered puts, `get_many`",
        flows={"std": PLAIN, "ours": ("buffered", 20_000)},
        wanted=(Target("ours", "std", 25),),
    ),
    Recipe(
        title="`put_many`, `get_many` of 100; by hand in chunks of 100",
        flows={"std": ("chunks", 100_000), "ours": ("batched", 100_000)},
        wanted=(Target("ours", "std", 2),),
    ),
    Recipe(
        title="one job at a time",
        flows=_alike(SINGLE),
        wanted=(Target("ours", "std", 0.8, key="p50_us", most=True),),
    ),
    Recipe(title="1 MiB out and back", flows=_alike(LARGE), size=1 << 20, wanted=(Target("ours", "std", 3),)),
)


def measure(runner: Runner, row: Recipe, side: Side) -> Figures:
    """Measure one row on one side."""
    how, jobs = row.flows[side.key]
    return submit(runner, side, runner.server(side.server)[1], how, runner.count(jobs, 16), bytes=row.size)


def submit(runner: Runner, side: Side, address: Address, how: str, jobs: int, **more: Any) -> Figures:
    """Let jobs run through a server that is there."""
    name, where = runner.name(), {"station": side.station, "address": address}
    submitter, *workers = runner.crew(1 + WORKERS, side)
    order = {"name": name, "how": how, "jobs": jobs, "bytes": 0, **where, **more}
    if side.station == "ours":
        with start_workers(address, name, WORKERS) as crew:
            answer = _submit(runner, submitter, order, crew)
    else:
        runner.ask_all(workers, do="work", name=name, **where)
        answer = _submit(runner, submitter, order, None)
        for worker in workers:
            worker.hear(runner.settings.patience_s)
        runner.ask_all(workers, do="leave")
    runner.ask(submitter, do="leave")
    figures = {"rate": answer["count"] / answer["seconds"], "seconds": answer["seconds"]}
    return figures | {key: answer[key] for key in ("p50_us", "p99_us") if key in answer}


def _submit(runner: Runner, submitter: Child, order: dict[str, Any], crew: Child | None) -> Any:
    """Let the jobs run, then stop the workers; a `crew` must then end by itself."""
    answer = runner.ask(submitter, do="submit", **order)
    runner.ask(submitter, do="pills", name=order["name"], count=WORKERS)
    if crew is not None:
        crew.wait(10)
    return answer


def _latencies(result: Result) -> str:
    timed = any("p50_us" in figures for figures in every(result))
    return ", ".join(cell(result, key, "p50_us") for key in result.samples) if timed else "-"


COLUMNS = (
    Column("jobs go by", lambda result: result.row.title, right=False),
    figure("standard library", "std"),
    figure("ours", "ours"),
    times("ratio", "ours", "std"),
    figure("stock clients", "mixed"),
    times("ratio", "mixed", "std"),
    wanted(),
    figure("Redis lists", "redis"),
    times("ours/Redis", "ours", "redis"),
    Column("p50 µs of each", _latencies, right=False),
)


def tables(results: Sequence[Result]) -> list[str]:
    """Return the one table."""
    return [
        "Jobs per second, every result back and checked; the time of one job where they go one at a time.",
        "",
        *table(results, COLUMNS),
    ]


SECTION = Section("recipe", "The recipe, two workers", ROWS, measure, tables)
