"""The `mpworker` command. A plain command line is read without typer: a worker host is to be ready soon."""

from __future__ import annotations

import sys

from mpshared.entry import enter

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit."""
    enter("mpworker", _command)


def _command() -> int:
    if sys.platform == "win32":
        from mpshared.command import fail
        from mpshared.exit_codes import ExitCode

        fail(
            "mpworker",
            ExitCode.USAGE,
            "worker hosts run on Linux and macOS; programs on Windows use those there: set MPSERVE_ADDRESS",
        )
    from mpclient.worker.working import SETTINGS, work
    from mpshared.arguments import read_plain

    plain = read_plain(sys.argv[1:], SETTINGS)
    if plain is not None:
        return work(**plain)
    from mpclient.worker.commands import app
    from mpshared.command import run

    return run(app, "mpworker")
