"""The `mpworker` command."""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line and exit."""
    from mpclient.worker.commands import app  # noqa: PLC0415 - loads typer
    from mpshared.command import run  # noqa: PLC0415

    sys.exit(run(app, "mpworker"))
