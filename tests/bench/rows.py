"""THE table of what is measured. A row is one kind of work, done on several sides.

Rules:
- `wanted` is the least ratio to the standard library that the project asks of itself now; it judges nobody,
  it is printed.
- The bare sockets are a floor, not a competitor: they do none of the work.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ROWS", "Durable", "Idle", "Jobs", "Pairs", "Recipe", "Row", "Stored"]

# Where server and client run. Left alone, the scheduler puts a client now on the server's core, now on
# another one, where a wake-up costs ten times as much: then rounds show its moods.
ANYWHERE, TOGETHER, APART = "", "one core", "two cores"
ALL = ("std", "ours", "mixed", "bare")


@dataclass(frozen=True, slots=True)
class Pairs:
    """Clients that repeat a pair of calls for a fixed time; the rate is of pairs, of all clients together."""

    title: str
    work: str
    clients: int
    wanted: float
    sides: tuple[str, ...] = ALL
    place: str = ANYWHERE


@dataclass(frozen=True, slots=True)
class Recipe:
    """One submitter, two worker processes; `flows` tells how each side's submitter moves how many jobs."""

    title: str
    wanted: float
    flows: dict[str, tuple[str, int]]
    size: int = 0

    @property
    def sides(self) -> tuple[str, ...]:
        """Return the sides that take part."""
        return tuple(self.flows)


@dataclass(frozen=True, slots=True)
class Jobs:
    """One submitter of many small jobs, two worker processes: `work` by `multiprocessing` on pipes, by its
    recipe over TCP, and by ours; how many on each side. `wanted` are the least ratios to the first two.
    """

    title: str
    work: str
    wanted: dict[str, float]
    jobs: dict[str, int]

    @property
    def sides(self) -> tuple[str, ...]:
        """Return the sides that take part."""
        return tuple(self.jobs)


@dataclass(frozen=True, slots=True)
class Idle:
    """Clients that do nothing, on a server of their own; and one that works meanwhile."""

    clients: int
    wanted_kib: float
    sides: tuple[str, ...] = ALL


KEPT = ("ours", "kept")


@dataclass(frozen=True, slots=True)
class Durable:
    """Work of another row on a server with `--data`, and on one without."""

    work: Pairs | Jobs
    wanted: float | None
    """None: a single client waits for the disk, whatever we do."""
    sides: tuple[str, ...] = KEPT


@dataclass(frozen=True, slots=True)
class Stored:
    """Puts into a queue that is empty, and that holds so many items; another client's pauses while it is
    filled; and a restart with all of them.
    """

    items: int
    wanted_ratio: float
    wanted_pause_ms: float
    wanted_restart_s: float
    sides: tuple[str, ...] = KEPT


ALONE = (
    ("dict: set, get", "dict"),
    ("list: append, pop", "list"),
    ("queue: put, get", "queue"),
    ("lock: acquire, release", "lock"),
)

PAIRS = (
    Pairs("connect and one call", "connect", 1, 1.0),
    Pairs("make a dict, drop it", "proxy", 1, 1.0, ("std", "ours", "mixed")),
    *(
        Pairs(f"{title}; {place}", work, 1, 1.0, ALL, place)
        for place in (APART, TOGETHER)
        for title, work in ALONE
    ),
    Pairs("dict: set, get", "dict", 8, 1.3),
    Pairs("list: append, pop", "list", 8, 1.3),
    Pairs("queue: put, get", "queue", 8, 1.3),
    Pairs("one lock for all: acquire, release", "lock", 8, 1.1),
)

PLAIN, SINGLE, LARGE = ("recipe", 20_000), ("round trip", 500), ("recipe", 64)

RECIPES = (
    Recipe("one put, one get a job", 2.0, {"std": PLAIN, "ours": PLAIN, "mixed": PLAIN}),
    Recipe("buffered puts, `get_many`", 2.0, {"std": PLAIN, "ours": ("buffered", 20_000)}),
    Recipe("`put_many`, `get_many`", 2.0, {"std": PLAIN, "ours": ("batched", 100_000)}),
    Recipe("one job at a time", 1.0, {"std": SINGLE, "ours": SINGLE, "mixed": SINGLE}),
    Recipe("1 MiB out and back", 1.0, {"std": LARGE, "ours": LARGE, "mixed": LARGE}, 1 << 20),
)

JOBS = (
    Jobs(
        "`imap_unordered`, chunks of 1",
        "imap",
        {"pipes": 8.0, "std": 80.0},
        {"pipes": 40_000, "std": 5_000, "ours": 200_000},
    ),
    Jobs(
        "`executor().submit` each",
        "futures",
        {"pipes": 12.0},
        {"pipes": 10_000, "std": 5_000, "ours": 100_000},
    ),
    Jobs("`Pool.map`, its own chunks", "map", {"pipes": 0.8}, {"pipes": 1_000_000, "ours": 1_000_000}),
)

IDLE = Idle(5_000, 8.0)

DURABLE = (
    Durable(Pairs("queue: put, get", "queue", 1, 0.5), None),
    Durable(Pairs("dict: set, get", "dict", 8, 0.5), 0.5),
    Durable(Pairs("queue: put, get", "queue", 8, 0.5), 0.5),
    Durable(
        Jobs("`imap_unordered`, chunks of 1", "imap", {}, {"ours": 200_000, "kept": 200_000}),
        0.5,
    ),
)
STORED = Stored(1_000_000, 0.9, 50.0, 10.0)

Row = Pairs | Recipe | Jobs | Idle | Durable | Stored
ROWS: tuple[Row, ...] = (*PAIRS, *RECIPES, *JOBS, IDLE, *DURABLE, STORED)
