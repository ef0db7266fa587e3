"""Tables of results: a table is a list of columns, a column a heading and what it says of a result.

Rules:
- A ratio is the median of the ratios of each round; a rate is the median of the rounds' rates.
- What failed is shown as FAILED, what was not measured as a dash; a column that says nothing is left out.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.bench.rows import Figures, Result, Target
from tests.bench.sides import SIDES

__all__ = [
    "NONE",
    "Column",
    "cell",
    "every",
    "figure",
    "got",
    "line",
    "number",
    "ratio",
    "table",
    "times",
    "told",
    "wanted",
]

NONE = "-"


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, and what stands below it."""

    title: str
    show: Callable[[Result], str]
    right: bool = True


def figure(title: str, side: str, key: str = "rate") -> Column:
    """Return a column with one side's figure."""
    return Column(title, lambda result: cell(result, side, key))


def times(title: str, side: str, base: str, key: str = "rate") -> Column:
    """Return a column with one side's figure by another's."""
    return Column(title, lambda result: _bold(ratio(result, side, base, key)))


def wanted(title: str = "wanted") -> Column:
    """Return a column with what is wanted of a row."""
    return Column(title, lambda result: "; ".join(map(_told_of, result.row.wanted)) or NONE)


def table(results: Sequence[Result], columns: Sequence[Column]) -> list[str]:
    """Return the lines of a table, without the columns that say nothing."""
    if not results:
        return []
    shown = [(column, [column.show(result) for result in results]) for column in columns]
    shown = [(column, cells) for column, cells in shown if any(text != NONE for text in cells)]
    heads = [line([column.title for column, _cells in shown])]
    rules = ["|" + "|".join("--:" if column.right else "---" for column, _cells in shown) + "|"]
    return heads + rules + [line(row) for row in zip(*(cells for _column, cells in shown), strict=True)]


def line(cells: Sequence[str]) -> str:
    """Return one line of a table."""
    return "| " + " | ".join(cells) + " |"


def told(target: Target) -> str:
    """Tell what is wanted."""
    least = "≤" if target.most else "≥"
    against = f" of {SIDES[target.base].title}" if target.base else target.unit
    return f"{least} {target.limit:g}{against}"


def _told_of(target: Target) -> str:
    """Tell what is wanted, and of whom unless it is our own client."""
    return told(target) if target.side == "ours" else f"{SIDES[target.side].title} {told(target)}"


def got(result: Result, target: Target) -> float | None:
    """Return what came of a target, None where it was not measured."""
    if not target.base:
        return _median(result, target.side, target.key)
    found = ratio(result, target.side, target.base, target.key)
    if found is None and target.else_base is not None:
        mine = _median(result, target.side, target.key)
        return None if mine is None else mine / target.else_base
    return found


def ratio(result: Result, side: str, base: str, key: str = "rate") -> float | None:
    """Return the median over the rounds of one side's figure by another's; None where either is missing."""
    rounds = zip(result.samples.get(side, []), result.samples.get(base, []), strict=False)
    found = [mine[key] / theirs[key] for mine, theirs in rounds if mine and theirs and theirs.get(key)]
    return statistics.median(found) if found else None


def every(result: Result) -> list[Figures]:
    """Return what all sides measured in all rounds."""
    return [figures for samples in result.samples.values() for figures in samples if figures]


def cell(result: Result, side: str, key: str) -> str:
    """Return one figure, FAILED where the side failed, a dash where it does not take part."""
    if side in result.failures:
        return "FAILED"
    return number(_median(result, side, key))


def number(value: float | None) -> str:
    """Write a number with about three figures."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _bold(value: float | None) -> str:
    return NONE if value is None else f"**{number(value)}**"


def _median(result: Result, side: str, key: str) -> float | None:
    found = [figures[key] for figures in result.samples.get(side, []) if figures and key in figures]
    return statistics.median(found) if found else None
