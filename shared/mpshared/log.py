"""Log lines: one event, a few fields, one line.

    log = make_logger("server")
    log.info("peer.refused", peer="10.0.0.7:41234", reason="wrong key")

RULES
* One line per thing that matters. The core of the server never logs.
* The loggers made here belong to the program that made them. `logging`, whose root logger is the user's
  program's, is not even loaded.
* What peers sent is escaped (`text.printable`): a name with newlines or terminal sequences cannot forge a
  line.
* A log nobody can read any more (a closed pipe, a full disk) costs its lines, never the server.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from textwrap import indent
from threading import Lock
from typing import Final, Protocol, TextIO

from mpshared.text import printable

__all__ = ["Logger", "make_logger"]

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_COLOURS: Final = {"debug": "32;1", "info": "32;1", "warning": "33;1", "error": "31;1"}
_Fields = Mapping[str, object]
_Render = Callable[[str, str, _Fields, str], str]
"""Of a level, an event, its fields, and a traceback or "", the line without its end."""


class Logger(Protocol):
    """What the rest of the program sees of a logger.

    The field `exc_info=True` adds the traceback of the exception being handled; an exception, its own.
    """

    def debug(self, event: str, **fields: object) -> None:
        """Write what only a developer of this program wants to know."""

    def info(self, event: str, **fields: object) -> None:
        """Write what an operator wants to find later."""

    def warning(self, event: str, **fields: object) -> None:
        """Write what an operator should look at some time."""

    def error(self, event: str, **fields: object) -> None:
        """Write what an operator must act upon."""

    def bind(self, **fields: object) -> Logger:
        """Make a logger that adds these fields to every line."""


def make_logger(
    program: str, log_format: str = "console", level: str = "info", stream: TextIO | None = None
) -> Logger:
    """Make a logger that writes to a stream, standard error unless given.

    Args:
        program: Who writes; the field `program` of JSON lines.
        log_format: "console" (for people; coloured on a terminal) or "json" (an object a line).
        level: The least important lines to write: "debug", "info", "warning" or "error".
        stream: Where to.
    """
    target = sys.stderr if stream is None else stream
    render = _json(program) if log_format == "json" else _console(target)
    return _Lines(_Surviving(target).add, render, _LEVELS[level], {})


class _Lines:
    """A logger: what is important enough becomes a line, which is written at once."""

    def __init__(self, add: Callable[[str], None], render: _Render, least: int, bound: _Fields) -> None:
        self._add, self._render, self._least, self._bound = add, render, least, bound

    def debug(self, event: str, **fields: object) -> None:
        self._log("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._log("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._log("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._log("error", event, fields)

    def bind(self, **fields: object) -> Logger:
        return _Lines(self._add, self._render, self._least, {**self._bound, **fields})

    def _log(self, level: str, event: str, fields: dict[str, object]) -> None:
        if _LEVELS[level] < self._least:
            return
        trace = _traceback(fields.pop("exc_info", None))
        self._add(self._render(level, event, {**self._bound, **fields}, trace))


class _Surviving:
    """A stream that gets whole lines, and whose failures are dropped: there is nowhere to report them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lock = stream, Lock()

    def add(self, line: str) -> None:
        try:
            with self._lock:
                self._stream.write(line + "\n")
                self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream was closed
            return


def _json(program: str) -> _Render:
    def render(level: str, event: str, fields: _Fields, trace: str) -> str:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        line = {**fields, "event": event, "level": level, "timestamp": now}
        if trace:
            line["exception"] = trace
        line["program"] = program
        return json.dumps(line, default=_safe_repr)  # escapes everything beyond ASCII by itself

    return render


def _console(target: TextIO) -> _Render:
    coloured = target.isatty()
    # who sits before a terminal knows the date; who reads a file may read last year's
    clock = "%H:%M:%S" if coloured else "%Y-%m-%d %H:%M:%S"

    def paint(style: str, text: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if coloured else text

    def render(level: str, event: str, fields: _Fields, trace: str) -> str:
        begin = paint("2", time.strftime(clock)), f"[{paint(_COLOURS[level], f'{level:<9}')}]"
        told = (f"{paint('36', name)}={paint('35', _shown(value))}" for name, value in fields.items())
        line = " ".join([*begin, paint("1", f"{printable(event):<24}"), *told]).rstrip()
        # each line of it is indented: what an exception quotes of others cannot pass for a line of the log
        return f"{line}\n{indent(printable(trace, keep=_BREAKS), '    ')}" if trace else line

    return render


_BREAKS: Final = "\n\t"
_QUOTED: Final = frozenset(" \t=\r\n\"'")


def _shown(value: object) -> str:
    """Return a value as one visible word, or in quotes."""
    if isinstance(value, int | float | None):
        return repr(value)
    text = printable(value if isinstance(value, str) else _safe_repr(value))
    return repr(text) if _QUOTED.intersection(text) else text


def _traceback(error: object) -> str:
    found = sys.exception() if error is True else error
    if not isinstance(found, BaseException):
        return ""
    import traceback  # noqa: PLC0415 - seldom needed

    return "".join(traceback.format_exception(found)).removesuffix("\n")


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - somebody's __repr__; the line matters more
        return f"<{type(value).__name__}: its repr raised {type(error).__name__}>"
