"""The `mpworker` command."""

from __future__ import annotations

from mpshared.entry import enter

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit."""
    enter("mpworker", _command)


def _command() -> int:
    from mpclient.worker.commands import app
    from mpshared.command import run

    return run(app, "mpworker")
