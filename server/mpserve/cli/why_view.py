"""What `mpserve why` prints: who waits for which lock, and who holds it; as tables or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from mpserve.cli.tables import Column, Row, draw, field, holder_of, plural, spelled, thread_of
from mpshared.command import say

__all__ = ["resolve", "show"]


def show(told: Row, *, as_json: bool) -> None:
    """Print what the server said."""
    resolved = resolve(told)
    say(json.dumps(resolved, indent=2, default=repr) if as_json else _drawn(resolved))


def resolve(told: Row) -> Row:
    """Return what is shown: with hosts and processes beside sessions' ids."""
    sessions = told["sessions"]
    return {
        "waits": [_resolved(row, sessions) for row in told["waits"]],
        "deadlocks": [[_resolved(row, sessions) for row in circle] for circle in told["circles"]],
    }


def _resolved(row: Row, sessions: dict[str, Row]) -> Row:
    holder = row["holder"]
    return {
        **row,
        "waiter": {
            **thread_of(row["waiter"], sessions),
            "name": sessions.get(row["waiter"][0], {}).get("name", ""),
        },
        "holder": None if holder is None else thread_of(holder, sessions),
    }


_WHO: Final[list[Column]] = [
    ("waits", lambda row: spelled(row["waiter"])),
    ("program", lambda row: row["waiter"]["name"]),
    ("for", field("lock")),
    ("held by", holder_of),  # nobody: who waits is not connected at the moment
]
_WAIT: Final[list[Column]] = [*_WHO, ("since", lambda row: f"{row['waited_s']:.0f} s")]


def _drawn(told: Row) -> str:
    waits, circles = told["waits"], told["deadlocks"]
    heading = f"{plural(len(waits), 'call')} {'waits' if len(waits) == 1 else 'wait'} for locks"
    if not waits:
        heading = "nobody waits for a lock"
    elif circles:
        heading += f", {plural(len(circles), 'deadlock')}"
    return draw([heading], _tables(waits, circles))


def _tables(waits: list[Row], circles: list[list[Row]]) -> Iterator[tuple[str, list[Column], list[Row]]]:
    for circle in circles:
        yield "deadlock", _WHO, circle
    yield "waiting", _WAIT, waits
