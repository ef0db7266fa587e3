"""Log lines: one event, a few fields, one line.

    log = make_logger("server")
    log.info("peer.refused", peer="10.0.0.7:41234", reason="wrong key")

RULES
* One line per thing that matters. The core of the server never logs.
* The loggers made here belong to the program that made them. Neither `logging`'s root logger nor structlog's
  defaults are touched: a user's program keeps its own.
* What peers sent is escaped (`text.printable`): a name with newlines or terminal sequences cannot forge a
  line.
* A log nobody can read any more (a closed pipe, a full disk) costs its lines, never the server.
* structlog is loaded by the first call, not by importing this module.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from textwrap import indent
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

from mpshared.text import printable

if TYPE_CHECKING:
    from structlog.typing import Processor

__all__ = ["Logger", "make_logger"]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_Fields = MutableMapping[str, Any]


class Logger(Protocol):
    """What the rest of the program sees of a logger.

    The field `exc_info=True` adds the traceback of the exception being handled.
    """

    def debug(self, event: str, **fields: object) -> None:
        """Write what only a developer of this program wants to know."""

    def info(self, event: str, **fields: object) -> None:
        """Write what an operator wants to find later."""

    def warning(self, event: str, **fields: object) -> None:
        """Write what an operator should look at some time."""

    def error(self, event: str, **fields: object) -> None:
        """Write what an operator must act upon."""


def make_logger(
    program: str, log_format: str = "console", level: str = "info", stream: TextIO | None = None
) -> Logger:
    """Make a logger that writes to a stream, standard error unless given.

    Args:
        program: Who writes; the field `program` of JSON lines.
        log_format: "console" (for people; coloured on a terminal) or "json" (an object a line).
        level: The least important lines to write: "debug", "info", "warning" or "error".
        stream: Where to.

    Cost: the first call loads structlog, some tens of milliseconds.
    """
    import structlog  # noqa: PLC0415 - lazy: programs that import mpclient do not pay for it

    target = sys.stderr if stream is None else stream
    logger = structlog.wrap_logger(
        structlog.WriteLogger(cast("TextIO", _Surviving(target))),
        processors=_json(program) if log_format == "json" else _console(target),
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return cast("Logger", logger)


class _Surviving:
    """A stream whose failures are dropped: there is nowhere to report that the log is broken."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # ValueError: the stream was closed
            return 0

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return


def _json(program: str) -> list[Processor]:
    import structlog  # noqa: PLC0415

    def add_program(_logger: object, _method: str, fields: _Fields) -> _Fields:
        fields["program"] = program
        return fields

    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        add_program,
        structlog.processors.JSONRenderer(default=_safe_repr),  # escapes everything beyond ASCII by itself
    ]


def _console(target: TextIO) -> list[Processor]:
    import structlog  # noqa: PLC0415

    time = "%H:%M:%S"  # who sits before a terminal knows the date; who reads a file may read last year's
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt=time if target.isatty() else f"%Y-%m-%d {time}", utc=False),
        structlog.processors.format_exc_info,
        _escape_fields,
        structlog.dev.ConsoleRenderer(
            colors=target.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
            pad_event_to=24,
            sort_keys=False,
        ),
    ]


def _escape_fields(_logger: object, _method: str, fields: _Fields) -> _Fields:
    """Escape whatever a line will show; a traceback keeps its line breaks, and each line is indented: what an
    exception quotes of others cannot pass for a line of the log.
    """
    for name, value in fields.items():
        if name == "exception":
            fields[name] = indent(printable(str(value), keep="\n\t"), "    ")
        elif isinstance(value, str):
            fields[name] = printable(value)
        elif not isinstance(value, int | float | None):
            fields[name] = printable(_safe_repr(value))
    return fields


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - somebody's __repr__; the line matters more
        return f"<{type(value).__name__}: its repr raised {type(error).__name__}>"
