"""How `mpserve status` looks: tables for people, one JSON object for programs. What clients named is
escaped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from mpshared.text import printable

__all__ = ["show"]

Row = dict[str, Any]
Column = tuple[str, Callable[[Row], Any]]


def show(status: dict[str, Any], *, as_json: bool) -> None:
    """Print what the server said."""
    if as_json:
        print(json.dumps(_without_secret(status), indent=2, default=repr))
        return
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=False)
    server = status["server"]
    console.print(
        f"mpserve {server['version']}, server {server['server']}, {len(status['sessions'])} sessions, "
        f"{len(status['objects'])} objects"
    )
    for title, columns, rows in _tables(status):
        if rows:
            console.print(_table(title, columns, rows))


def _without_secret(status: dict[str, Any]) -> dict[str, Any]:
    server = {
        key: value
        for key, value in status["server"].items()
        if key in {"server", "epoch", "version", "limits", "advertise"}
    }
    return {**status, "server": server}


def _field(name: str) -> Callable[[Row], Any]:
    return lambda row: row.get(name, "")


def _python(row: Row) -> str:
    return ".".join(map(str, row["python"])) if any(row["python"]) else ""


def _holder(row: Row) -> str:
    holder = row.get("holder")
    return f"{holder[0]}/{holder[1]}" if holder else "-"


_QUEUE = ("ready", "leased", "delayed", "dead", "unfinished", "getters", "putters")
_SESSION: list[Column] = [
    ("session", _field("id")), ("role", _field("role")), ("name", _field("name")), ("host", _field("host")),
    ("pid", _field("pid")), ("Python", _python), ("silent s", _field("silent_s")),
    ("waiting", _field("waiting")),
]  # fmt: skip
_WORKER: list[Column] = [
    ("host", _field("host")), ("name", _field("name")), ("pid", _field("pid")), ("Python", _python),
    ("slots", _field("slots")), ("queue", _field("queue")), ("session", _field("id")),
]  # fmt: skip
_NAMED: list[Column] = [("name", lambda row: row["name"] or row["ident"])]
_LOCKS = frozenset({"lock", "rlock", "semaphore", "condition"})


def _tables(status: dict[str, Any]) -> Iterable[tuple[str, list[Column], list[Row]]]:
    sessions, objects = status["sessions"], status["objects"]
    yield "sessions", _SESSION, [s for s in sessions if s["role"] not in {"worker", "supervisor"}]
    yield "workers", _WORKER, [s for s in sessions if s["role"] in {"worker", "supervisor"}]
    queues = [*_NAMED, *((name, _field(name)) for name in _QUEUE), ("references", _field("references"))]
    yield "queues", queues, [o for o in objects if o["kind"] == "queue"]
    locks: list[Column] = [
        *_NAMED,
        ("kind", _field("kind")),
        ("holder", _holder),
        ("waiters", _field("waiters")),
        ("references", _field("references")),
    ]
    yield "locks", locks, [o for o in objects if o["kind"] in _LOCKS]
    others: list[Column] = [
        *_NAMED,
        ("kind", _field("kind")),
        ("length", _field("length")),
        ("references", _field("references")),
    ]
    yield "other objects", others, [o for o in objects if o["kind"] not in _LOCKS | {"queue"}]


def _table(title: str, columns: list[Column], rows: list[Row]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name, _ in columns:
        table.add_column(name)
    for row in rows:
        table.add_row(*(Text(printable(str(value(row)))) for _, value in columns))
    return table
