"""What `mpserve status` prints: what the server told, as tables or as JSON.

RULES
* Everything that clients named is escaped.
* Nothing is cut or wrapped, however narrow the terminal: values are there to be copied.
* A holder is a thread of a session to the server, and a host and a process to people: `resolve` adds these.
* The session that asked is not shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final

from mpshared.command import say
from mpshared.text import printable

__all__ = ["resolve", "show", "tables"]

Row = dict[str, Any]
Column = tuple[str, Callable[[Row], Any]]

_WIDEST: Final = 100_000
"""Columns of the paper that tables are drawn on: more than any has."""
_PUBLIC: Final = frozenset({"server", "epoch", "version", "limits", "advertise"})
"""Of the greeting; the rest is the asking session's own."""


def show(status: Row, *, as_json: bool) -> None:
    """Print what the server said."""
    resolved = resolve(status)
    say(json.dumps(resolved, indent=2, default=repr) if as_json else _drawn(resolved))


def resolve(status: Row) -> Row:
    """Return what is shown: without the asking session, with hosts and processes beside sessions' ids."""
    greeting = status["server"]
    sessions = {row["id"]: row for row in status["sessions"] if row["id"] != greeting.get("session")}
    return {
        "server": {key: value for key, value in greeting.items() if key in _PUBLIC},
        "sessions": list(sessions.values()),
        "objects": [_with_holders(row, sessions) for row in status["objects"]],
    }


def _with_holders(row: Row, sessions: dict[str, Row]) -> Row:
    """Replace pairs of session and lane by maps that also tell host and process."""
    more: Row = {}
    if row.get("holder") is not None:
        session, lane = row["holder"]
        more["holder"] = {"session": session, "thread": lane, **_process(sessions.get(session))}
    if "permits" in row:
        more["permits"] = [
            {"session": session, "permits": n, **_process(sessions.get(session))}
            for session, n in row["permits"].items()
        ]
    if row["kind"] == "pool":
        session = row["program"]
        more["program"] = {"session": session, **_process(sessions.get(session))}
    return {**row, **more}


def _process(session: Row | None) -> Row:
    return {"host": session["host"], "pid": session["pid"]} if session is not None else {"host": "", "pid": 0}


# -- columns --------------------------------------------------------------------------------------


def _field(name: str) -> Callable[[Row], Any]:
    return lambda row: row.get(name, "")


def _name(row: Row) -> Any:
    return row["name"] or row["ident"]


def _python(row: Row) -> str:
    return ".".join(map(str, row["python"])) if any(row["python"]) else ""


def _silent(row: Row) -> str:
    return f"{row['silent_s']:.0f} s"


def _where(holder: Row) -> str:
    """Return host:pid, by which people find a process; a standard-library client tells only its address."""
    if not holder["host"]:
        return "standard-library clients" if not holder["session"] else f"session {holder['session']}"
    return f"{holder['host']}:{holder['pid']}" if holder["pid"] else str(holder["host"])


def _holder(row: Row) -> str:
    if "permits" in row:
        return ", ".join(f"{_where(held)} ×{held['permits']}" for held in row["permits"]) or "-"  # noqa: RUF001
    holder = row.get("holder")
    if not holder:
        return "-"
    return f"{_where(holder)} thread {holder['thread']}{' (gone)' if row.get('abandoned') else ''}"


def _state(row: Row) -> str:
    """Return what an object without a length is at."""
    match row["kind"]:
        case "event":
            return "set" if row["set"] else "not set"
        case "barrier":
            return "broken" if row["broken"] else f"{row['waiters']} of {row['parties']}"
        case "value" | "array":
            return f"typecode {row['typecode']}" if row["typecode"] else ""
        case _:
            return ""


def _at_work(row: Row) -> str:
    return f"{row['sessions']} of {row['processes'] or 'any'}"


def _exit_code(row: Row) -> Any:
    return "" if row["exitcode"] is None else row["exitcode"]


_QUEUE_COUNTS = ("ready", "leased", "delayed", "dead", "unfinished", "getters", "putters", "joiners")
_REFERENCES: Final[Column] = ("references", _field("references"))
_SESSION: Final[list[Column]] = [
    ("session", _field("id")), ("role", _field("role")), ("name", _field("name")), ("host", _field("host")),
    ("pid", lambda row: row["pid"] or ""), ("Python", _python), ("silent", _silent),
    ("waiting calls", _field("waiting")),
]  # fmt: skip
_WORKER: Final[list[Column]] = [
    ("host", _field("host")), ("name", _field("name")), ("role", _field("role")), ("pid", _field("pid")),
    ("Python", _python), ("slots", _field("slots")), ("queue", _field("queue")), ("silent", _silent),
    ("session", _field("id")),
]  # fmt: skip
_QUEUE: Final[list[Column]] = [
    ("name", _name), *((name, _field(name)) for name in _QUEUE_COUNTS), _REFERENCES,
]  # fmt: skip
_POOL: Final[list[Column]] = [
    ("pool", _name), ("program", lambda row: _where(row["program"])),
    *((name, _field(name)) for name in ("ready", "leased", "results", "unfinished")),
    ("at work", _at_work), ("collectors", _field("collectors")), _REFERENCES,
]  # fmt: skip
_LOCK: Final[list[Column]] = [
    ("name", _name), ("kind", _field("kind")), ("holder", _holder), ("free", _field("value")),
    ("waiters", _field("waiters")), _REFERENCES,
]  # fmt: skip
_PROCESS: Final[list[Column]] = [
    ("name", _field("process")), ("stage", _field("stage")), ("host", _field("host")),
    ("pid", lambda row: row["pid"] or ""), ("exit code", _exit_code), ("program", _field("owner")),
    ("waiters", _field("waiters")),
]  # fmt: skip
_OTHER: Final[list[Column]] = [
    ("name", _name), ("kind", _field("kind")), ("length", _field("length")), ("state", _state),
    ("waiters", _field("waiters")), _REFERENCES,
]  # fmt: skip
_LOCKS: Final = frozenset({"lock", "rlock", "semaphore", "condition"})
_WORKERS: Final = frozenset({"worker", "supervisor", "process"})
_OWN_TABLE: Final = frozenset({"queue", "pool", "process"})


# -- tables ---------------------------------------------------------------------------------------


def tables(status: Row) -> Iterable[tuple[str, list[Column], list[Row]]]:
    """Yield the title, columns and rows of each table."""
    sessions, objects = status["sessions"], status["objects"]
    yield "sessions", _SESSION, [s for s in sessions if s["role"] not in _WORKERS]
    workers = [s for s in sessions if s["role"] in _WORKERS]
    yield "workers", _WORKER, sorted(workers, key=lambda s: (s["host"], s["supervisor"] or s["id"], s["pid"]))
    yield "queues", _QUEUE, [o for o in objects if o["kind"] == "queue"]
    yield "pools", _POOL, [o for o in objects if o["kind"] == "pool"]
    yield "locks", _LOCK, [o for o in objects if o["kind"] in _LOCKS]
    yield "processes", _PROCESS, [o for o in objects if o["kind"] == "process"]
    yield "other objects", _OTHER, [o for o in objects if o["kind"] not in _LOCKS | _OWN_TABLE]


def _drawn(status: Row) -> str:
    """Draw the tables, with colours where standard output is a terminal."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, width=_WIDEST)
    server, counts = status["server"], [len(status["sessions"]), len(status["objects"])]
    with console.capture() as capture:
        console.print(f"mpserve {server['version']}, server {server['server']}")
        console.print(f"{_plural(counts[0], 'session')}, {_plural(counts[1], 'object')}")
        for title, columns, rows in tables(status):
            if rows:
                console.print()
                console.print(_table(title, columns, rows))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _plural(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


def _table(title: str, columns: list[Column], rows: list[Row]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_style="bold", title_justify="left", box=None, pad_edge=False)
    for name, _ in columns:
        table.add_column(name, header_style="dim", no_wrap=True, overflow="ignore")
    for row in rows:
        table.add_row(*(Text(printable(str(value(row)))) for _, value in columns))
    return table
