"""At a distance: submitter and workers reach the server through a relay that lets bytes take their time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.rows import Figures, Result, Row, Section, Target
from tests.bench.runner import Runner
from tests.bench.sections import jobs, recipe
from tests.bench.sections.calls import measure_pairs
from tests.bench.sides import Address, Side, start_speaking
from tests.bench.stations import WORKERS
from tests.bench.stations.works import NAP_S
from tests.bench.tables import Column, figure, table, wanted

__all__ = ["SECTION"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distant(Row):
    """What is done, at which round trip."""

    round_trip_ms: float
    work: str
    most_rounds: int = 2

    @property
    def name(self) -> str:
        """Return the title and the distance."""
        return f"{self.title}, {self.round_trip_ms:g} ms"


JOBS, JOBS_BY_ONE = 400, 100
BUSY = (Target("ours", "", 90, key="busy", unit=" % busy"),)
BY_ONE, BUFFERED = "the recipe, job by job", "the recipe, in batches"
POOLED = {
    "`imap_unordered`": "imap naps",
    "`Pool.map`": "map naps",
    "`executor().submit` each": "future naps",
}
ROWS = tuple(
    row
    for ms in (1.0, 20.0)
    for row in (
        Distant(title="dict: set, get", work="dict", round_trip_ms=ms, sides=("std", "ours", "bare")),
        Distant(title="queue: put, get", work="queue", round_trip_ms=ms, sides=("std", "ours", "bare")),
        *(
            Distant(title=title, work=work, round_trip_ms=ms, sides=("ours",), wanted=BUSY)
            for title, work in POOLED.items()
        ),
        Distant(title=BY_ONE, work="naps", round_trip_ms=ms, sides=("std", "ours")),
        Distant(title=BUFFERED, work="buffered naps", round_trip_ms=ms, sides=("ours",), wanted=BUSY),
    )
)


def measure(runner: Runner, row: Distant, side: Side) -> Figures:
    """Measure one row on one side, through a relay of its own."""
    server, target = runner.server(side.server)
    relay, address = start_speaking(
        "-m", "tests.bench.relay", target[0], str(target[1]), str(row.round_trip_ms)
    )
    with relay:
        if row.work in {"dict", "queue"}:
            figures = measure_pairs(runner, runner.crew(1, side), server, address, side, row.work)
            return {"more_us": figures["p50_us"] / 2 - row.round_trip_ms * 1e3}
        return _busy(runner, row.work, side, address)


def _busy(runner: Runner, work: str, side: Side, address: Address) -> Figures:
    """Return the share of their time that workers spent in jobs, until the last result is there."""
    count = runner.count(JOBS_BY_ONE if work == "naps" else JOBS, 40)
    if work not in POOLED.values():
        figures = recipe.submit(runner, side, address, work, count, first=4)
    else:
        figures = jobs.run(runner, side, address, work, count, first=4)
    return {"busy": count * _nap_s() / (WORKERS * figures["seconds"]) * 100}


def _nap_s() -> float:
    """Return how long such a job takes here."""
    took = []
    for _ in range(10):
        begin = time.perf_counter()
        time.sleep(NAP_S)
        took.append(time.perf_counter() - begin)
    return statistics.median(took)


HEAD = (
    Column("work", lambda result: result.row.title, right=False),
    Column("round trip, ms", lambda result: f"{result.row.round_trip_ms:g}"),
)
CALLS = (
    *HEAD,
    figure("std library", "std", "more_us"),
    figure("ours", "ours", "more_us"),
    figure("bare", "bare", "more_us"),
)
SHARES = (
    *HEAD,
    figure("std library", "std", "busy"),
    figure("ours", "ours", "busy"),
    wanted(),
)


def tables(results: Sequence[Result]) -> list[str]:
    """Return what calls take, and how busy workers are."""
    calls = [result for result in results if result.row.work in {"dict", "queue"}]
    shares = [result for result in results if result not in calls]
    return [
        "Clients and workers reach the server through a relay that lets every byte take half the round",
        "trip each way. What one call takes more, p50 in µs; the bare sockets show the relay's part:",
        "",
        *table(calls, CALLS),
        "",
        f"{JOBS} jobs of {NAP_S * 1e3:g} ms for two workers: the share of their time, in %, that they spend",
        "in jobs, from when the first is sent until the last result is there. Job by job each put waits for",
        "its answer; in batches they are buffered, and results come by `get_many`.",
        "",
        *table(shares, SHARES),
    ]


SECTION = Section("distance", "At a distance", ROWS, measure, tables)
