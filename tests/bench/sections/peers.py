"""Beside others: small jobs through what users would otherwise pick, two workers each; see `--with`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.rows import Figures, Result, Row, Section
from tests.bench.runner import Runner
from tests.bench.sections import jobs, recipe
from tests.bench.sides import SIDES, Address, Side
from tests.bench.tables import NONE, Column, cell, number, ratio, table

__all__ = ["SECTION"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside(Row):
    """What each side does, and how many jobs; `key` is the figure that is shown."""

    sides: tuple[str, ...] = ()
    works: dict[str, tuple[str, int]]
    key: str = "rate"
    most_rounds: int = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "sides", tuple(self.works))


PEERS = ("redis", "celery", "rq", "dramatiq", "dask", "ray")
EACH = {"redis": 4_000, "celery": 500, "rq": 400, "dramatiq": 1_500, "dask": 800, "ray": 1_500}
ROWS = (
    Beside(
        title="small jobs, one message each",
        works={"ours": ("imap", 200_000)} | {peer: ("futures", EACH[peer]) for peer in PEERS},
    ),
    Beside(
        title="one job at a time",
        works={"ours": ("trips", 500)} | dict.fromkeys(PEERS, ("trips", 150)),
        key="p50_us",
    ),
    Beside(
        title="map",
        works={
            "ours": ("map", 1_000_000),
            "celery": ("map", 20_000),
            "dask": ("map", 2_000),
            "ray": ("map", 50_000),
        },
    ),
)
LISTS = {"futures": "recipe", "trips": "round trip"}


def measure(runner: Runner, row: Beside, side: Side) -> Figures:
    """Measure one row on one side."""
    address: Address = runner.server(side.server)[1] if side.server else ("", 0)
    work, count = row.works[side.key]
    count = runner.count(count, 50)
    if side.key == "redis":
        return recipe.submit(runner, side, address, LISTS[work], count)
    return jobs.run(runner, side, address, work, count)


def _beside(side: str) -> tuple[Column, Column]:
    return (
        Column(SIDES[side].title, lambda result: cell(result, side, result.row.key)),
        Column("ours to it", lambda result: _times(result, side)),
    )


def _times(result: Result, side: str) -> str:
    found = ratio(result, "ours", side, result.row.key)
    return NONE if found is None else f"**{number(found)}**"


COLUMNS = (
    Column("work", lambda result: result.row.title, right=False),
    Column("in", lambda result: "µs, p50" if result.row.key == "p50_us" else "jobs/s", right=False),
    Column("ours", lambda result: cell(result, "ours", result.row.key)),
    *(column for peer in PEERS for column in _beside(peer)),
)


def tables(results: Sequence[Result]) -> list[str]:
    """Return the one table."""
    return [
        "Two workers each; every result back and checked. Small jobs go by `imap_unordered` in chunks of 1",
        "with us, and as each system sends one job otherwise; Celery maps in chunks of 100.",
        "",
        *table(results, COLUMNS),
    ]


SECTION = Section("peers", "Beside others", ROWS, measure, tables)
