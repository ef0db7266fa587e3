"""Beside others: small jobs through what users would otherwise pick, two workers each; see `--with`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.children import ROOT
from tests.bench.pictures import draw
from tests.bench.rows import Figures, Result, Row, Section
from tests.bench.runner import Runner
from tests.bench.sections import jobs, recipe
from tests.bench.sides import SIDES, Address, Side
from tests.bench.tables import NONE, Column, cell, number, ratio, table

__all__ = ["PLOT", "SECTION", "plot"]

PLOT = ROOT / "docs" / "explanation" / "beside.svg"
SMALL = "small jobs, one message each"
OURS = ("mpserve, Pool.imap_unordered", "mpserve, executor().submit")
DRAWN = (
    (
        jobs.ROWS[0].title,
        {"pipes": "multiprocessing.Pool.imap_unordered", "std": "multiprocessing's recipe over TCP"},
    ),
    (jobs.ROWS[1].title, {"pipes": "ProcessPoolExecutor.submit", "ours": OURS[1]}),
    (
        SMALL,
        {
            "ours": OURS[0],
            "redis": "Redis lists, by hand",
            "celery": "Celery",
            "rq": "RQ",
            "dramatiq": "Dramatiq",
            "dask": "Dask",
            "ray": "Ray",
        },
    ),
)
"""Which rows' sides are drawn, and what they are called in the picture."""


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
        title=SMALL,
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
        "![small jobs a second, sent one by one](beside.svg)",
        "",
        *table(results, COLUMNS),
    ]


def plot(found: Mapping[str, Sequence[Result]], path: Path = PLOT) -> bool:
    """Draw how many small jobs a second each takes, if it was measured beside others and can be drawn."""
    if not found.get(SECTION.key):
        return False
    rows = {it.row.title: it for key in (SECTION.key, jobs.SECTION.key) for it in found.get(key, ())}
    rates = {
        name: _rate(rows[title], side)
        for title, sides in DRAWN
        if title in rows
        for side, name in sides.items()
    }
    measured = {name: rate for name, rate in rates.items() if rate}
    title = "small jobs a second, sent one by one to two workers (logarithmic)"
    return draw({"bars": {"title": title, "ours": OURS, "rates": measured}}, path)


def _rate(result: Result, side: str) -> float:
    """Return the median of all rounds, 0 where it was not measured."""
    rates = [figures["rate"] for figures in result.samples.get(side, ()) if figures]
    return statistics.median(rates) if rates else 0.0


SECTION = Section("peers", "Beside others", ROWS, measure, tables)
