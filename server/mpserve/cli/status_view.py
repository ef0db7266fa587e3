"""What `mpserve status` prints: what the server told, as tables or as JSON.

RULES
* `resolve` adds host and process to threads of sessions.
* The session that asked is not shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from mpserve.cli.tables import Column, Row, draw, field, holder_of, plural, process_of, thread_of, where
from mpshared.command import say
from mpshared.units import format_size, shown_size

__all__ = ["heading", "resolve", "show", "tables"]

_PUBLIC: Final = frozenset({"server", "epoch", "version", "limits", "advertise"})
"""Of the greeting; the rest is the asking session's own."""


def show(status: Row, *, as_json: bool) -> None:
    """Print what the server said."""
    resolved = resolve(status)
    say(
        json.dumps(resolved, indent=2, default=repr) if as_json else draw(heading(resolved), tables(resolved))
    )


def resolve(status: Row) -> Row:
    """Return what is shown: without the asking session, with hosts and processes beside sessions' ids."""
    greeting = status["server"]
    sessions = {row["id"]: row for row in status["sessions"] if row["id"] != greeting.get("session")}
    return {
        "server": {key: value for key, value in greeting.items() if key in _PUBLIC},
        **{key: status[key] for key in ("memory", "connections", "refused", "journal", "more")},
        "sessions": list(sessions.values()),
        "objects": [_with_holders(row, sessions) for row in status["objects"]],
    }


def _with_holders(row: Row, sessions: dict[str, Row]) -> Row:
    """Replace pairs of session and lane by maps that also tell host and process."""
    more: Row = {}
    if row.get("holder") is not None:
        more["holder"] = thread_of(row["holder"], sessions)
    if "permits" in row:
        more["permits"] = [
            {"session": session, "permits": n, **process_of(sessions.get(session))}
            for session, n in row["permits"].items()
        ]
    if row["kind"] == "pool":
        session = row["program"]
        more["program"] = {"session": session, **process_of(sessions.get(session))}
    return {**row, **more}


# -- columns --------------------------------------------------------------------------------------


def _name(row: Row) -> Any:
    return row["name"] or row["ident"]


def _python(row: Row) -> str:
    return ".".join(map(str, row["python"])) if any(row["python"]) else ""


def _jobs(row: Row) -> str:
    return ", ".join(f"{n} of {name}" for name, n in row["leased"].items())


def _heard(row: Row) -> str:
    return f"{row['silent_s']:.0f} s ago"


def _holder(row: Row) -> str:
    if "permits" in row:
        return ", ".join(f"{where(held)} ×{held['permits']}" for held in row["permits"]) or "-"  # noqa: RUF001
    return holder_of(row)


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


def _program(row: Row) -> str:
    """Return whose pool it is; "-": its jobs outlive their programs."""
    return where(row["program"]) if row["program"]["session"] else "-"


def _at_work(row: Row) -> str:
    return f"{row['sessions']} of {row['processes'] or 'any'}"


def _exit_code(row: Row) -> Any:
    return "" if row["exitcode"] is None else row["exitcode"]


_QUEUE_COUNTS = ("ready", "leased", "delayed", "dead", "unfinished", "getters", "putters", "joiners")
_REFERENCES: Final[Column] = ("references", field("references"))
_SESSION: Final[list[Column]] = [
    ("session", field("id")), ("role", field("role")), ("name", field("name")), ("host", field("host")),
    ("pid", lambda row: row["pid"] or ""), ("Python", _python), ("last heard", _heard),
    ("waiting calls", field("waiting")),
]  # fmt: skip
_WORKER: Final[list[Column]] = [
    ("host", field("host")), ("name", field("name")), ("role", field("role")), ("pid", field("pid")),
    ("Python", _python), ("slots", field("slots")), ("queue", field("queue")), ("has", _jobs),
    ("last heard", _heard), ("session", field("id")),
]  # fmt: skip
_QUEUE: Final[list[Column]] = [
    ("name", _name), *((name, field(name)) for name in _QUEUE_COUNTS), _REFERENCES,
]  # fmt: skip
_POOL: Final[list[Column]] = [
    ("pool", _name), ("program", _program),
    *((name, field(name)) for name in ("ready", "leased", "results", "unfinished")),
    ("at work", _at_work), ("collectors", field("collectors")), _REFERENCES,
]  # fmt: skip
_LOCK: Final[list[Column]] = [
    ("name", _name), ("kind", field("kind")), ("holder", _holder), ("free", field("value")),
    ("waiters", field("waiters")), _REFERENCES,
]  # fmt: skip
_PROCESS: Final[list[Column]] = [
    ("name", field("process")), ("stage", field("stage")), ("host", field("host")),
    ("pid", lambda row: row["pid"] or ""), ("exit code", _exit_code), ("program", field("owner")),
    ("waiters", field("waiters")),
]  # fmt: skip
_OTHER: Final[list[Column]] = [
    ("name", _name), ("kind", field("kind")), ("length", field("length")), ("state", _state),
    ("waiters", field("waiters")), _REFERENCES,
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


def heading(status: Row) -> list[str]:
    """Return the lines above the tables: what there is in all, and what is wrong."""
    server, more = status["server"], status["more"]
    counts = [len(status[what]) + more[what] for what in ("sessions", "objects")]
    who = f"mpserve {server['version']}, server {server['server']}"
    counted = f"{plural(counts[0], 'session')}, {plural(counts[1], 'object')}"
    lines = [who, f"{counted}, {_memory(status['memory'])}", _connections(status["connections"])]
    lines.append(_hosts(status["sessions"]))
    if status["journal"]:
        lines.append(f"changes are refused: the journal cannot be written ({status['journal']})")
    if status["refused"]:
        lines.append(_refused(status["refused"]))
    if any(more.values()):
        lines.append(f"not listed below: {more['sessions']} sessions, {more['objects']} objects")
    return lines


def _hosts(sessions: list[Row]) -> str:
    hosts = sum(session["role"] == "supervisor" for session in sessions)
    workers = [session for session in sessions if session["role"] == "worker"]
    if not hosts and not workers:
        return "no worker hosts"
    busy = sum(bool(session["leased"]) for session in workers)
    return f"{plural(hosts, 'worker host')}, {busy} of {plural(len(workers), 'process')} at work"


def _connections(counts: Row) -> str:
    unknown = f", {counts['unauthenticated']} of them not authenticated" if counts["unauthenticated"] else ""
    return f"{plural(counts['open'], 'connection')} of {counts['limit']}{unknown}"


def _refused(counts: Row) -> str:
    return "refused since the start: " + ", ".join(f"{n} by {what}" for what, n in sorted(counts.items()))


def _memory(memory: Row) -> str:
    held, limit, waiting = (memory[key] for key in ("held_bytes", "limit_bytes", "waiting"))
    of = f" of {format_size(limit)}" if limit else ""
    waits = f", {plural(waiting, 'call')} waiting for room" if waiting else ""
    return f"{shown_size(held)}{of} of values held{waits}"
