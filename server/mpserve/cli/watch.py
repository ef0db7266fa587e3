"""`mpserve status --watch`: what a server does, drawn anew each second until Ctrl-C.

RULES
* A terminal's screen is filled and no more: lines end at its edge. Who needs them whole asks without --watch.
* Where there is no terminal each answer follows the one before; as JSON, one line for each.
* How much goes in and out is told by two answers: the server counts, and has no clock for it.
* A server that is away (a restart, a cut) does not end it: the last picture stays, under a line that says so.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from mpserve.cli.asking import Unanswered
from mpserve.cli.status_view import heading, resolve, tables
from mpserve.cli.tables import Column, Row, draw
from mpshared.command import say

__all__ = ["History", "watch"]

EVERY_S: Final = 1.0
_SHOWN: Final = 30
"""Answers, of which a queue's course shows how much was READY."""
_FIRST: Final = ("queues", "pools", "workers")
_BARS: Final = "▁▂▃▄▅▆▇█"

_COURSE: Final[Column] = ("ready, last 30 s", lambda row: _course(row["course"]))
_RATES: Final[list[Column]] = [
    ("in/s", lambda row: _shown_rate(row["in_s"])),
    ("out/s", lambda row: _shown_rate(row["out_s"])),
]

Show = Callable[[str], None]


def watch(ask: Callable[[], Row], *, as_json: bool) -> None:
    """Show what the server answers, each second, until somebody interrupts.

    Raises:
        Unanswered: At the first time; later that is shown.
    """
    history = History()
    draws = _json if as_json else _picture
    picture = draws(history.resolve(ask(), time.monotonic()), "")
    shown = _screen() if not as_json and _is_terminal() else _paper()
    with suppress(KeyboardInterrupt), shown as show:
        while True:
            show(picture)
            time.sleep(EVERY_S)
            try:
                picture = draws(history.resolve(ask(), time.monotonic()), "")
            except Unanswered as err:
                picture = draws(history.last, str(err))


class History:
    """What the answers until now tell together."""

    def __init__(self) -> None:
        self.last: Row = {}
        self._at_s = 0.0
        self._counts: dict[str, tuple[int, int]] = {}
        self._ready: dict[str, deque[int]] = {}

    def resolve(self, status: Row, now_s: float) -> Row:
        """Return an answer as `status_view.resolve` does; queues and pools tell how much went in and out each
        second since the one before (`in_s`, `out_s`; None at first), and `course`: how many were READY.
        """
        took_s, self._at_s = now_s - self._at_s, now_s
        resolved = resolve(status)
        lines = [row for row in resolved["objects"] if "put" in row]
        counts = {row["ident"]: (row["put"], row["put"] - _inside(row)) for row in lines}
        self._ready = {ident: self._ready.get(ident, deque(maxlen=_SHOWN)) for ident in counts}
        for row in lines:
            ident = row["ident"]
            row["in_s"], row["out_s"] = _rates(self._counts.get(ident), counts[ident], took_s)
            self._ready[ident].append(row["ready"])
            row["course"] = list(self._ready[ident])
        self._counts, self.last = counts, resolved
        return resolved


def _rates(
    before: tuple[int, int] | None, now: tuple[int, int], took_s: float
) -> tuple[float | None, float | None]:
    if before is None:
        return None, None
    into, out = (round(max(0, n - then) / took_s, 1) for n, then in zip(now, before, strict=True))
    return into, out


def _inside(row: Row) -> int:
    return sum(row.get(state, 0) for state in ("ready", "leased", "delayed", "dead"))


# -- drawing --------------------------------------------------------------------------------------


def _json(told: Row, trouble: str) -> str:
    return json.dumps({"trouble": trouble} if trouble else told, default=repr)


def _picture(told: Row, trouble: str) -> str:
    """Return the tables, those first that change while work is done."""
    now = time.strftime("%H:%M:%S")
    lines = [f"{now}  this is old, and tried again: {trouble}" if trouble else now, *heading(told)]
    parts = {title: (title, _with_rates(title, columns), rows) for title, columns, rows in tables(told)}
    return draw(lines, [parts.pop(title) for title in _FIRST] + list(parts.values()))


def _with_rates(title: str, columns: list[Column]) -> list[Column]:
    if title not in {"queues", "pools"}:
        return columns
    return [columns[0], *_RATES, *([_COURSE] if _has_bars() else []), *columns[1:]]


def _shown_rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.1f}"


def _course(counts: list[int]) -> str:
    """Return a bar for each count, the highest of them as high as can be."""
    most = max(*counts, 1, 1)
    return "".join(_BARS[-(-n * (len(_BARS) - 1) // most)] for n in counts)


def _has_bars() -> bool:
    try:
        _BARS.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


# -- where it is shown ----------------------------------------------------------------------------


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@contextmanager
def _paper() -> Iterator[Show]:
    yield say


@contextmanager
def _screen() -> Iterator[Show]:
    """Take the terminal's other screen; at the end, also by SIGTERM, what was there before is there again."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(highlight=False, markup=False, emoji=False)

    def show(text: str) -> None:
        lines = [Text.from_ansi(line, no_wrap=True, overflow="ellipsis") for line in text.splitlines()]
        for line in lines:
            line.rstrip()
        live.update(Group(*_fitting(lines, console.height)), refresh=True)

    options: Any = {"auto_refresh": False, "redirect_stdout": False, "redirect_stderr": False}
    with Live(console=console, screen=True, **options) as live:
        yield show


def _fitting(lines: list[Any], height: int) -> list[Any]:
    """Return as many lines as there is room for, the last of which says how many there are more."""
    if len(lines) <= height:
        return lines
    return [*lines[: height - 1], f"… {len(lines) - height + 1} more lines"]
