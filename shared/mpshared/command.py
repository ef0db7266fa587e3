"""What the two commands share: one line for what is wrong, exit codes of the table, and no traceback for what
is no bug.

    sys.exit(guard("mpserve", main))

RULES
* What a person interrupts, or nobody reads any more (`mpserve status | head -1`), ends without a traceback.
* A last word is one line: what is shown of others' text is escaped.
* typer is loaded by `make_app` and `run` only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from mpshared import __version__ as VERSION
from mpshared.exit_codes import ExitCode
from mpshared.text import printable
from mpshared.units import SettingError, parse_flag

if TYPE_CHECKING:
    import typer

__all__ = ["fail", "guard", "make_app", "run", "say", "settle", "version_option"]


_INTERRUPTED = 130
"""What newer versions of typer make of an interrupt; older ones raise Abort."""


# -- around a command -----------------------------------------------------------------------------


def guard(program: str, command: Callable[[], int]) -> int:
    """Run `command`; return its exit code, or one for an interrupt, lost output, or a system that refuses."""
    _open_missing()
    try:
        code = command()
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = _complain(program, "interrupted")
    except BrokenPipeError:
        code = ExitCode.FAILED
    except OSError as err:
        code = _complain(program, str(err))
    except SystemExit as end:  # `fail`, or typer's
        code = end.code if isinstance(end.code, int) else ExitCode.OK
    settle(sys.stdout, 1)
    settle(sys.stderr, 2)
    return code


def say(text: str) -> None:
    """Print the answer of a command, whatever alphabet its output can write.

    Raises:
        OSError: The output is full or nobody reads it; `guard` sees to that.
    """
    with suppress(AttributeError):  # not every stream that a program puts there has it
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    print(text, flush=True)


def fail(program: str, code: ExitCode, text: str) -> NoReturn:
    """End the command: one line that says why, and its exit code."""
    _complain(program, text)
    raise SystemExit(code)


def _complain(program: str, text: str) -> ExitCode:
    with suppress(OSError):
        print(f"{program}: {printable(text)}", file=sys.stderr, flush=True)
    return ExitCode.FAILED


def _open_missing() -> None:
    """Put something in the place of output streams that were closed before the start."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - for the process's life


def settle(stream: TextIO, descriptor: int) -> None:
    """Write what is left in a stream, or drop it: the interpreter would end with a complaint and code 120."""
    try:
        stream.flush()
    except (OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)


# -- typer ----------------------------------------------------------------------------------------


def make_app(program: str, description: str = "") -> typer.Typer:
    """Make a command line whose help is plain text: readable at any width, and quick."""
    import typer

    return typer.Typer(
        name=program,
        help=description or None,
        no_args_is_help=bool(description),
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def version_option(program: str) -> Any:
    """Make the option that prints the version and ends the command."""
    import typer

    def show(wanted: bool) -> None:
        if wanted:
            say(f"{program} {VERSION}")
            raise typer.Exit

    return typer.Option("--version", callback=show, is_eager=True, help="Print the version.")


def run(app: typer.Typer, program: str, arguments: list[str] | None = None) -> int:
    """Run the command line of `program`; return its exit code."""
    import typer

    try:
        code = app(args=arguments, prog_name=program, standalone_mode=False)
    except _click_exception(typer) as err:
        return _explain(program, err)
    except typer.Abort:
        raise KeyboardInterrupt from None
    if code == _INTERRUPTED:
        raise KeyboardInterrupt
    return code if isinstance(code, int) else ExitCode.OK


def _click_exception(typer: Any) -> type[Exception]:
    """Return the base of what is wrong with a command line: click's, or of the click within newer typers."""
    bases: tuple[type[Exception], ...] = typer.BadParameter.__mro__
    return next(base for base in bases if base.__name__ == "ClickException")


def _explain(program: str, err: Any) -> int:
    """Say what is wrong with a command line, in one line."""
    context = getattr(err, "ctx", None)
    where = program if context is None else context.command_path
    if type(err).__name__ == "NoArgsIsHelpError":
        say(err.format_message())
        return ExitCode.USAGE
    _complain(where, f"{_sentence(_what(err, context))} See {where} --help.")
    return ExitCode.USAGE


def _what(err: Any, context: Any) -> str:
    """Name the option, or the variable where that was used, before what is wrong with its value."""
    parameter = getattr(err, "param", None)
    if type(err).__name__ != "BadParameter" or parameter is None or context is None:
        return str(err.format_message())
    source = context.get_parameter_source(parameter.name)
    if getattr(source, "name", "") != "ENVIRONMENT":
        return f"{parameter.opts[-1]}: {err.message}"
    try:  # typer reads flags by itself, with a message that does not say what to write
        parse_flag(os.environ[parameter.envvar] if parameter.is_flag else "1")
    except SettingError as better:
        return f"{parameter.envvar}: {better}"
    return f"{parameter.envvar}: {err.message}"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
