"""The `mpserve` command. `ping` is answered before typer is loaded: health checks run it every few
seconds.
"""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line and exit."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["ping"] and not {"-h", "--help"} & set(arguments):
        from mpserve.ping import ping

        sys.exit(ping(arguments[1:]))
    from mpserve.commands import app
    from mpshared.command import run

    sys.exit(run(app, "mpserve"))
