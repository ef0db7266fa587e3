"""Running a typer command so that what is wrong with a command line is one line, and an exit code of the table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mpshared.exit_codes import ExitCode

if TYPE_CHECKING:
    import typer

__all__ = ["run"]


def run(app: typer.Typer, program: str, arguments: list[str] | None = None) -> int:
    """Run the command line of `program`; return its exit code."""
    import click  # noqa: PLC0415 - loaded with typer anyway, by commands only

    try:
        code = app(args=arguments, prog_name=program, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as err:
        print(err.format_message())  # noqa: T201 - it is what the command says
        return ExitCode.USAGE
    except click.ClickException as err:
        context = getattr(err, "ctx", None)
        where = context.command_path if context is not None else program
        print(f"{where}: {err.format_message()}  (see {where} --help)", file=sys.stderr)  # noqa: T201
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt):
        print(f"{program}: interrupted", file=sys.stderr)  # noqa: T201
        return ExitCode.FAILED
    return code if isinstance(code, int) else ExitCode.OK
