"""Calls: clients that repeat a pair of calls for a fixed time; the rate is of pairs, of all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.children import Child
from tests.bench.rows import Figures, Result, Row, Section, Target
from tests.bench.runner import EVERYWHERE, FIRST, LAST, Runner
from tests.bench.sides import Address, Side
from tests.bench.tables import Column, figure, table, times, wanted

__all__ = ["SECTION", "Pairs", "measure", "measure_pairs"]

# Where server and client run. Left alone, the scheduler puts a client now on the server's core, now on
# another one, where a wake-up costs ten times as much: then rounds show its moods.
PLACES = {"": (EVERYWHERE, EVERYWHERE), "one core": (FIRST, FIRST), "two cores": (FIRST, LAST)}
ALL = ("std", "ours", "mixed", "bare", "redis")
STORED = (*ALL, "plain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs(Row):
    """So many clients, and what they call."""

    work: str
    clients: int = 1
    sides: tuple[str, ...] = ALL
    place: str = ""

    @property
    def name(self) -> str:
        """Return the title and how many there are."""
        return f"{self.title}, {self.clients} client{'s' * (self.clients > 1)}"


def _to_bare(least: float) -> tuple[Target, ...]:
    return (Target("ours", "bare", least),)


ALONE = {
    "dict: set, get": "dict",
    "list: append, pop": "list",
    "queue: put, get": "queue",
    "lock: acquire, release": "lock",
}
ROWS = (
    Pairs(title="connect and one call", work="connect", wanted=(Target("mixed", "std", 40),)),
    Pairs(
        title="make a dict, drop it",
        work="proxy",
        sides=("std", "ours", "mixed"),
        wanted=(Target("mixed", "std", 40),),
    ),
    *(
        Pairs(
            title=f"{title}; {place}",
            work=work,
            place=place,
            sides=ALL if work == "lock" else STORED,
            wanted=() if work == "lock" else _to_bare(0.75),
        )
        for place in ("two cores", "one core")
        for title, work in ALONE.items()
    ),
    *(
        Pairs(title=title, work=work, clients=8, sides=STORED, wanted=_to_bare(0.6))
        for title, work in ALONE.items()
        if work != "lock"
    ),
    Pairs(
        title="100 items: `put_many`, `get_many`; by hand a list a put",
        work="batches",
        sides=("std", "ours"),
    ),
    Pairs(title="one lock for all: acquire, release", work="lock", clients=8, wanted=_to_bare(0.8)),
)


def measure(runner: Runner, row: Pairs, side: Side) -> Figures:
    """Measure one row on one side."""
    server, address = runner.server(side.server)
    crew = runner.crew(row.clients, side)
    near, far = PLACES[row.place]
    server.pin(near)
    for driver in crew:
        driver.pin(far)
    try:
        return measure_pairs(runner, crew, server, address, side, row.work)
    finally:
        for child in (server, *crew):
            if child.alive:
                child.pin(EVERYWHERE)


def measure_pairs(
    runner: Runner, crew: list[Child], server: Child, address: Address, side: Side, work: str
) -> Figures:
    """Let all drivers of a crew repeat the same work."""
    runner.ask_all(crew, do="prepare", station=side.station, address=address, work=work, name=runner.name())
    before_s = server.cpu_s()
    answers = runner.ask_all(crew, do="go", seconds=runner.settings.seconds)
    used_s = server.cpu_s() - before_s
    runner.ask_all(crew, do="leave")
    return {
        "rate": sum(answer["count"] / answer["seconds"] for answer in answers),
        "p50_us": sorted(answer["p50_us"] for answer in answers)[len(answers) // 2],
        "p99_us": max(answer["p99_us"] for answer in answers),
        "server_us": used_s / sum(answer["count"] for answer in answers) * 1e6,
    }


WORK = (
    Column("work", lambda result: result.row.title, right=False),
    Column("clients", lambda result: str(result.row.clients)),
)
RATES = (
    *WORK,
    figure("std library", "std"),
    figure("ours", "ours"),
    times("ratio", "ours", "std"),
    figure("stock client", "mixed"),
    times("ratio", "mixed", "std"),
    figure("bare", "bare"),
    times("ours/bare", "ours", "bare"),
    times("plain/bare", "plain", "bare"),
    wanted(),
    figure("redis-py", "redis"),
    times("ours/redis-py", "ours", "redis"),
)
TIMES = (
    *WORK,
    figure("standard library", "std", "server_us"),
    figure("ours", "ours", "server_us"),
    figure("stock client", "mixed", "server_us"),
    figure("bare", "bare", "server_us"),
    figure("plain", "plain", "server_us"),
    figure("redis-py", "redis", "server_us"),
)


def tables(results: Sequence[Result]) -> list[str]:
    """Return the rates, and the server's times."""
    return [
        "Pairs of calls per second, all clients together. Bare sockets exchange as much and do no work;",
        "their lock is handed on in order. Plain are bare sockets with pickles and a look-up: a server in",
        "Python can hardly do less. Each server has a session of its own, and so its share of the",
        "processors, whoever else uses them; the clients are processes of one program.",
        "",
        *table(results, RATES),
        "",
        "Processor time of the server for each pair, in µs: steadier than rates, as wake-ups do not count.",
        "",
        *table(results, TIMES),
    ]


SECTION = Section("calls", "Calls", ROWS, measure, tables)
