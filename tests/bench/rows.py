"""The words of the bench: rows, what is wanted of them, sections, and what came of a row.

Rules:
- A row is one kind of work, done on several sides; a section has the rows of one table of the page.
- `wanted` is what the project asks of itself; it judges nobody, it is printed.
- The bare sockets are a floor, not a competitor: they do none of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bench.runner import Runner
    from tests.bench.sides import Side

__all__ = ["Figures", "Result", "Row", "Section", "Target"]

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Target:
    """One side's figure by another's, or by itself where there is no `base`: at least, or `most`, a limit."""

    side: str
    base: str
    limit: float
    key: str = "rate"
    most: bool = False
    unit: str = ""
    else_base: float | None = None
    """The base's figure where it is not measured in this run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of work, done on several sides."""

    title: str
    sides: tuple[str, ...]
    wanted: tuple[Target, ...] = ()
    most_rounds: int = 99
    """Fewer than are asked for, where one takes long and has its own repetitions."""

    @property
    def name(self) -> str:
        """Return the title with what tells it from others of its section."""
        return self.title


@dataclass(slots=True)
class Result:
    """One row's samples, a list by round for each side (None: failed), and what failed."""

    row: Any
    samples: dict[str, list[Figures | None]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Section:
    """The rows of one table, how one is measured on one side, and how the results read."""

    key: str
    title: str
    rows: Sequence[Row]
    measure: Callable[[Runner, Any, Side], Figures]
    tables: Callable[[Sequence[Result]], list[str]]

    def describe(self, row: Row) -> str:
        """Name a row in one line."""
        return f"{self.key}: {row.name}"
