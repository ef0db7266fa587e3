"""The `mpworker` command."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit."""
    try:
        from mpshared.command import guard

        code = guard("mpworker", _command)
    except KeyboardInterrupt:  # before the guard stands, or behind it
        code = 1
    sys.exit(code)


def _command() -> int:
    from mpclient.worker.commands import app
    from mpshared.command import run

    return run(app, "mpworker")
