"""Curves: what a server holds must not slow it down. Two are side by side, one holds nothing, one more.

Rules:
- Slices of work alternate between both, in the order A B B A, and ratios are taken within a pair of slices:
  what the machine does meanwhile falls on both.
- Two servers that hold the same differ by 5 % and more, by where their memory lies and how their dicts are
  filled. So a ratio is that to the one of before, when both held nothing.
- A slice's rate is that of its median call, which those few do not move that the system put off.
- Calls run on one core with their server: there code is what counts, not the moods of wake-ups.
- Items are put into the queue that is measured, keys into the dict that is.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.children import ROOT, Child
from tests.bench.pictures import draw
from tests.bench.rows import Figures, Result, Row, Section, Target
from tests.bench.runner import EVERYWHERE, FIRST, Runner
from tests.bench.sides import Address, Side, start_ours, start_workers
from tests.bench.stations import WORKERS
from tests.bench.tables import cell, line

__all__ = ["PLOT", "SECTION", "plot"]

PLOT = ROOT / "docs" / "explanation" / "curves.svg"
WORKS = {"dict": "dict: set, get", "queue": "queue: put, get", "stream": "`imap_unordered`"}
LEAST = 0.9
SLICES = 10  # pairs of them
LAST = "last"
LOADERS = 2  # a process may not have as many files open as 5,000 clients need


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve(Row):
    """What the one server holds, and how much of it."""

    kind: str
    counts: tuple[int, ...]
    sides: tuple[str, ...] = ("ours",)
    most_rounds: int = 1
    wanted: tuple[Target, ...] = tuple(
        Target("ours", "", LEAST, key=f"{work}@{LAST}", unit=f" of {title} with none")
        for work, title in WORKS.items()
    )


ROWS = (
    Curve(title="items in the queue", kind="items", counts=(10_000, 100_000, 1_000_000)),
    Curve(title="keys in the dict", kind="keys", counts=(1_000, 10_000, 100_000)),
    Curve(title="named objects", kind="objects", counts=(100, 1_000, 10_000)),
    Curve(title="idle clients", kind="clients", counts=(50, 500, 5_000)),
    Curve(title="parked getters", kind="getters", counts=(10, 100, 1_000)),
)


def measure(runner: Runner, row: Curve, side: Side) -> Figures:
    """Fill one server step by step; at each step measure it beside the empty one."""
    with ExitStack() as stack:
        servers = [start_ours() for _ in range(2)]
        for server, address in servers:
            stack.enter_context(server)
            stack.enter_context(start_workers(address, f"{runner.name()}.work", WORKERS))
        *callers, one, other = runner.crew(2 + LOADERS)
        loaders = [one, other]
        where = {"station": side.station, "address": servers[1][1]}
        name = runner.name()
        runner.ask_all(loaders, do="prepare", work="dict", name=f"{name}-loader", **where)
        before = {work: _slices(runner, servers, callers, work, name) for work in WORKS}
        figures, held = {}, 0
        for step, wanted in enumerate(row.counts):
            count = runner.count(wanted, 10)
            _load(runner, loaders if row.kind == "clients" else [one], row.kind, name, count - held)
            held = count
            for work in WORKS:
                found = _slices(runner, servers, callers, work, name) / before[work]
                figures |= {f"{work}@{step}": found, f"{work}@{LAST}": found}
            figures[f"count@{step}"] = float(count)
        runner.ask_all(loaders, do="leave")
    return figures


def _load(runner: Runner, loaders: list[Child], kind: str, name: str, more: int) -> None:
    apart = kind in {"clients", "getters"}  # getters of the queue that is measured would take its items
    for loader in loaders:
        loader.tell(
            do="load", kind=kind, name=f"{name}-{kind}" if apart else name, count=more // len(loaders)
        )
    for loader in loaders:
        loader.hear(runner.settings.patience_s * 2)


def _slices(
    runner: Runner, servers: list[tuple[Child, Address]], callers: list[Child], work: str, name: str
) -> float:
    """Return the median of the ratios of the full server's rate to the empty one's."""
    places = EVERYWHERE if work == "stream" else FIRST
    for (server, address), caller in zip(servers, callers, strict=True):
        runner.ask(caller, do="prepare", station="ours", address=address, work=work, name=name)
        server.pin(places)
        caller.pin(places)
    ratios = []
    for number in range(SLICES):
        rates = [0.0, 0.0]
        for which in (0, 1) if number % 2 else (1, 0):
            answer = runner.ask(callers[which], do="go", seconds=runner.settings.seconds / 3)
            rates[which] = 1e6 / answer["p50_us"]
        ratios.append(rates[1] / rates[0])
    runner.ask_all(callers, do="leave")
    for child in (*callers, *(server for server, _address in servers)):
        child.pin(EVERYWHERE)
    return statistics.median(ratios)


def tables(results: Sequence[Result]) -> list[str]:
    """Return a line for each step."""
    lines = [
        "Rates of a server that holds so much, as ratios to those of one beside it that holds nothing, and",
        f"to the same ratio of before; wanted: {LEAST:g}. `scripts/bench --curves` measures and draws this",
        "alone.",
        "",
        "![rates by what the server holds](curves.svg)",
        "",
        line(["it holds", "how many", *WORKS.values()]),
        "|---|--:|" + "--:|" * len(WORKS),
    ]
    for result in results:
        for step, wanted in enumerate(result.row.counts):
            found = next((it for it in result.samples.get("ours", []) if it), {})
            count = f"{int(found.get(f'count@{step}', wanted)):,}"
            lines.append(
                line([result.row.title, count, *(cell(result, "ours", f"{work}@{step}") for work in WORKS)])
            )
    return lines


def plot(found: Mapping[str, Sequence[Result]], path: Path = PLOT) -> bool:
    """Draw the curves, if they were measured and can be drawn."""
    panels = [
        {
            "title": result.row.title,
            "counts": [figures[f"count@{step}"] for step in range(len(result.row.counts))],
            "lines": {
                title.replace("`", ""): [figures[f"{work}@{step}"] for step in range(len(result.row.counts))]
                for work, title in WORKS.items()
            },
        }
        for result in found.get(SECTION.key, ())
        for figures in result.samples.get("ours", [])
        if figures
    ]
    return bool(panels) and draw({"curves": {"least": LEAST, "panels": panels}}, path)


SECTION = Section("curves", "Whatever the server holds", ROWS, measure, tables)
