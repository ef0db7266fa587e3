"""The `mpworker` command. A plain command line is read without typer: a worker host is to be ready soon."""

from __future__ import annotations

import sys

from mpshared.entry import enter

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit."""
    enter("mpworker", _command)


def _command() -> int:
    from mpclient.worker.working import SETTINGS, work
    from mpshared.arguments import read_plain

    plain = read_plain(sys.argv[1:], SETTINGS)
    if plain is not None:
        return work(**plain)
    from mpclient.worker.commands import app
    from mpshared.command import run

    return run(app, "mpworker")
