"""Tables for people, as `mpserve status` and `mpserve why` print them.

RULES
* Everything that clients named is escaped.
* Nothing is cut or wrapped, however narrow the terminal: values are there to be copied.
* A holder is a thread of a session to the server, and a host and a process to people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from mpshared.text import printable

__all__ = [
    "Column",
    "Row",
    "draw",
    "field",
    "holder_of",
    "plural",
    "process_of",
    "spelled",
    "thread_of",
    "where",
]

Row: TypeAlias = dict[str, Any]
Column: TypeAlias = tuple[str, Callable[[Row], Any]]

_WIDEST: Final = 100_000
"""Columns of the paper that tables are drawn on: more than any has."""


def field(name: str) -> Callable[[Row], Any]:
    """Return what reads one field of a row."""
    return lambda row: row.get(name, "")


def process_of(session: Row | None) -> Row:
    """Return host and process of a session; empty ones if it is gone."""
    return {"host": session["host"], "pid": session["pid"]} if session is not None else {"host": "", "pid": 0}


def thread_of(owner: Any, sessions: Mapping[str, Row]) -> Row:
    """Return a thread as a map that also tells host and process."""
    session, lane = owner
    return {"session": session, "thread": lane, **process_of(sessions.get(session))}


def where(holder: Row) -> str:
    """Return host:pid, by which people find a process; a standard-library client tells only its address."""
    if not holder["host"]:
        return "standard-library clients" if not holder["session"] else f"session {holder['session']}"
    return f"{holder['host']}:{holder['pid']}" if holder["pid"] else str(holder["host"])


def spelled(thread: Row) -> str:
    """Return what people call a thread."""
    return f"{where(thread)} thread {thread['thread']}"


def holder_of(row: Row) -> str:
    """Return who holds the lock of a row; "-": nobody does."""
    holder = row.get("holder")
    if holder is None:
        return "-"
    return spelled(holder) + (" (gone)" if row.get("abandoned") else "")


def plural(n: int, word: str) -> str:
    """Return a count in words."""
    return f"{n} {word}" if n == 1 else f"{n} {word}{'es' if word.endswith('s') else 's'}"


def draw(heading: Iterable[str], tables: Iterable[tuple[str, list[Column], list[Row]]]) -> str:
    """Draw lines, and tables that are not empty, with colours where standard output is a terminal."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False, width=_WIDEST)
    with console.capture() as capture:
        for line in heading:
            console.print(printable(line))
        for title, columns, rows in tables:
            if rows:
                console.print()
                console.print(_table(title, columns, rows))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _table(title: str, columns: list[Column], rows: list[Row]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_style="bold", title_justify="left", box=None, pad_edge=False)
    for name, _ in columns:
        table.add_column(name, header_style="dim", no_wrap=True, overflow="ignore")
    for row in rows:
        table.add_row(*(Text(printable(str(value(row)))) for _, value in columns))
    return table
