"""Running a typer command so that what is wrong with a command line is one line, and an exit code of the
table.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mpshared.exit_codes import ExitCode

if TYPE_CHECKING:
    import typer

__all__ = ["run"]


def run(app: typer.Typer, program: str, arguments: list[str] | None = None) -> int:
    """Run the command line of `program`; return its exit code."""
    import typer

    try:
        code = app(args=arguments, prog_name=program, standalone_mode=False)
    except _click_exception(typer) as err:
        return _say(program, err)
    except (typer.Abort, KeyboardInterrupt):
        print(f"{program}: interrupted", file=sys.stderr)
        return ExitCode.FAILED
    return code if isinstance(code, int) else ExitCode.OK


def _click_exception(typer: Any) -> type[Exception]:
    """Return the base of what is wrong with a command line; newer typers bring a click of their own."""
    base: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
    return base


def _say(program: str, err: Any) -> int:
    context = getattr(err, "ctx", None)
    where = program if context is None else context.command_path
    if type(err).__name__ == "NoArgsIsHelpError":
        print(err.format_message())
    else:
        print(f"{where}: {err.format_message()} See {where} --help.", file=sys.stderr)
    return ExitCode.USAGE
