"""Turn results into tables, and put them into the documentation.

Rules:
- A ratio is the median of the ratios of each round; a rate is the median of the rounds' rates.
- What failed is shown as FAILED, in its cell and, with its reason, below the table.
"""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

from tests.bench.children import ROOT
from tests.bench.rows import Durable, Idle, Jobs, Pairs, Recipe, Row, Stored
from tests.bench.runner import Figures, Result
from tests.bench.sides import SIDES

__all__ = ["PAGE", "ratio", "tables", "write"]

PAGE = ROOT / "docs" / "explanation" / "performance.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
NONE = "-"


def tables(results: Sequence[Result], command: str) -> str:
    """Return all tables as Markdown."""
    machine = f"{os.cpu_count()} cores, {platform.system()}, CPython {platform.python_version()}"
    parts = [
        f"    {command}",
        "",
        f"{machine}; medians of interleaved rounds. A ratio is that to the standard",
        "library's server; a stock client is the standard library's client of our server.",
    ]
    pairs = [result for result in results if isinstance(result.row, Pairs)]
    recipes = [result for result in results if isinstance(result.row, Recipe)]
    jobs = [result for result in results if isinstance(result.row, Jobs)]
    idle = [result for result in results if isinstance(result.row, Idle)]
    durable = [result for result in results if isinstance(result.row, Durable)]
    stored = [result for result in results if isinstance(result.row, Stored)]
    for title, table in (
        ("Calls", _pairs(pairs)),
        ("The recipe, two workers", _recipes(recipes)),
        ("Small jobs, two workers", _jobs(jobs)),
        ("Idle clients", _idle(idle)),
        ("With `--data`", _durable(durable)),
        ("With much in store", _stored(stored)),
    ):
        if table:
            parts += ["", f"### {title}", "", *table]
    return "\n".join([*parts, *_failures(results), ""])


def write(text: str, page: Path = PAGE) -> None:
    """Replace what stands between the page's two marks.

    Raises:
        ValueError: The page does not have the marks.
    """
    whole = page.read_text(encoding="utf-8")
    if BEGIN not in whole or END not in whole:
        raise ValueError(
            f"{page} has no lines {BEGIN} and {END}, so there is no place to write the figures: put them in"
        )
    head, rest = whole.split(BEGIN, 1)
    page.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")


def ratio(result: Result, side: str, base: str, key: str = "rate") -> float | None:
    """Return the median over the rounds of one side's figure by another's; None where either is missing."""
    rounds = zip(result.samples.get(side, []), result.samples.get(base, []), strict=False)
    found = [mine[key] / theirs[key] for mine, theirs in rounds if mine and theirs]
    return statistics.median(found) if found else None


def _pairs(results: Sequence[Result]) -> list[str]:
    lines = [
        "Pairs of calls per second, all clients together. Bare sockets exchange as much and do no work.",
        "",
        "| work | clients | std library | ours | ratio | wanted | stock client | ratio | bare | ours/bare |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for result in results:
        row = result.row
        assert isinstance(row, Pairs)
        cells = [
            row.title,
            str(row.clients),
            _rate(result, "std"),
            _rate(result, "ours"),
            _times(result, "ours"),
        ]
        cells += [f"{row.wanted:g}", _rate(result, "mixed"), _times(result, "mixed"), _rate(result, "bare")]
        lines.append(_line([*cells, _number(ratio(result, "ours", "bare"))]))
    return lines + _server_times(results) if results else []


def _server_times(results: Sequence[Result]) -> list[str]:
    lines = [
        "",
        "Processor time of the server for each pair, in µs: steadier than rates, as wake-ups do not count.",
        "",
        "| work | clients | standard library | ours | stock client | bare |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for result in results:
        assert isinstance(result.row, Pairs)
        times = [_cell(result, key, "server_us") for key in ("std", "ours", "mixed", "bare")]
        lines.append(_line([result.row.title, str(result.row.clients), *times]))
    return lines


def _recipes(results: Sequence[Result]) -> list[str]:
    lines = [
        "Jobs per second, every result back and checked; the time of one job where they go one at a time.",
        "",
        "| jobs go by | standard library | ours | ratio | wanted | stock clients | ratio | p50 µs of each |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for result in results:
        row = result.row
        assert isinstance(row, Recipe)
        timed = any(figures and "p50_us" in figures for figures in _all(result))
        latencies = ", ".join(_cell(result, key, "p50_us") for key in row.sides) if timed else NONE
        cells = [
            row.title,
            _rate(result, "std"),
            _rate(result, "ours"),
            _times(result, "ours"),
            f"{row.wanted:g}",
        ]
        lines.append(_line([*cells, _rate(result, "mixed"), _times(result, "mixed"), latencies]))
    return lines if results else []


def _jobs(results: Sequence[Result]) -> list[str]:
    lines = [
        "Jobs per second of `operator.neg`, every result back and checked: by `multiprocessing` on pipes of",
        "one machine, by its recipe over TCP (one put, one get a job), and by ours through the server.",
        "",
        "| jobs go by | pipes | recipe | ours | to pipes | wanted | to the recipe | wanted |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for result in results:
        row = result.row
        assert isinstance(row, Jobs)
        cells = [row.title, *(_rate(result, side) for side in ("pipes", "std", "ours"))]
        for base in ("pipes", "std"):
            wanted = row.wanted.get(base)
            cells += [_times(result, "ours", base), NONE if wanted is None else f"{wanted:g}"]
        lines.append(_line(cells))
    return lines if results else []


def _idle(results: Sequence[Result]) -> list[str]:
    lines: list[str] = []
    for result in results:
        assert isinstance(result.row, Idle)
        count = next((int(figures["clients"]) for figures in _all(result) if figures), result.row.clients)
        lines += [
            f"{count:,} idle clients; wanted: under {result.row.wanted_kib:g} KiB each, and no thread.",
            "",
            "| server, clients | KiB each | threads more | p50 µs of a dict pair, alone | meanwhile | p99 |",
            "|---|--:|--:|--:|--:|--:|",
        ]
        for key in result.samples:
            found = [_cell(result, key, name) for name in ("kib", "threads", "alone_us", "p50_us", "p99_us")]
            lines.append(_line([SIDES[key].title, *found]))
    return lines


def _durable(results: Sequence[Result]) -> list[str]:
    lines = [
        "Pairs of calls or jobs per second, with every answer on the disk before it leaves (`--sync full`);",
        "p50 of a pair beside the time that the disk takes to keep one page more, both in µs.",
        "",
        "| work | clients | without | with `--data` | ratio | wanted | p50 without | p50 with | disk |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for result in results:
        row = result.row
        assert isinstance(row, Durable)
        clients = str(row.work.clients) if isinstance(row.work, Pairs) else NONE
        cells = [row.work.title, clients, _rate(result, "ours"), _rate(result, "kept")]
        cells += [_times(result, "kept", "ours"), NONE if row.wanted is None else f"{row.wanted:g}"]
        cells += [_cell(result, side, "p50_us") for side in row.sides]
        lines.append(_line([*cells, _cell(result, "kept", "sync_us")]))
    return lines if results else []


def _stored(results: Sequence[Result]) -> list[str]:
    lines: list[str] = []
    for result in results:
        row = result.row
        assert isinstance(row, Stored)
        count = next((int(figures["stored"]) for figures in _all(result) if figures), row.items)
        lines += [
            f"A queue is filled with {count:,} items, 256 a call, while another client goes on with a dict's",
            "set and get; then the server is killed. Puts are one by one, by one client; their rate and the",
            "server's processor time for each are beside those with nothing stored. The disk's pause is the",
            "longest of 500 times that it kept one page more, before. Wanted: puts at",
            f"{row.wanted_ratio:g} of the rate, no pause over {row.wanted_pause_ms:g} ms,",
            f"back within {row.wanted_restart_s:g} s.",
            "",
            "| server | items/s | puts/s | to none | time to none | pause, ms | disk's, ms | restart, s |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        names = ("fill_rate", "rate", "ratio", "cpu_ratio", "longest_ms", "disk_ms", "restart_s")
        lines += [_line([SIDES[key].title, *(_cell(result, key, it) for it in names)]) for key in row.sides]
    return lines


def _failures(results: Sequence[Result]) -> list[str]:
    told = [(result.row, key, text) for result in results for key, text in result.failures.items()]
    lines = [f"- {_title(row)}, {SIDES[key].title}: {text}" for row, key, text in told]
    return ["", "Failed:", "", *lines] if lines else []


def _title(row: Row) -> str:
    if isinstance(row, Durable):
        return f"{_title(row.work)} with --data"
    if isinstance(row, Stored):
        return f"{row.items:,} items stored"
    return "idle clients" if isinstance(row, Idle) else row.title


def _all(result: Result) -> list[Figures | None]:
    return [figures for samples in result.samples.values() for figures in samples]


def _cell(result: Result, side: str, key: str) -> str:
    """Return one figure, FAILED where the side failed, a dash where it does not take part."""
    if side in result.failures:
        return "FAILED"
    return _number(_median(result, side, key))


def _median(result: Result, side: str, key: str) -> float | None:
    found = [figures[key] for figures in result.samples.get(side, []) if figures and key in figures]
    return statistics.median(found) if found else None


def _rate(result: Result, side: str) -> str:
    return _cell(result, side, "rate")


def _times(result: Result, side: str, base: str = "std") -> str:
    found = ratio(result, side, base)
    return NONE if found is None else f"**{_number(found)}**"


def _number(value: float | None) -> str:
    """Write a number with about three figures."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
