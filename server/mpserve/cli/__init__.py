"""The `mpserve` command.

`start` and `ping` are answered without typer where their command lines are plain: a server is to be ready
soon, and health checks run every few seconds. So they go straight to `starting` and `asking`, which load
little; all else, help and mistakes included, to `commands`. `data` does without a server what can be done
with a folder of ``--data``, `tls_init` makes certificates; `banner`, `status_view`, `watch` and `why_view`
are what people see, with `tables`.
"""

from __future__ import annotations

import sys

from mpshared.entry import enter

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit."""
    enter("mpserve", _command)


def _command() -> int:
    from mpshared.arguments import read_plain

    command, words = sys.argv[1:2], sys.argv[2:]
    if command == ["ping"]:
        from mpserve.cli.asking import SETTINGS, ping

        plain = read_plain(words, SETTINGS)
        if plain is not None:
            return ping(**plain)
    if command == ["start"]:
        from mpserve.cli.starting import SETTINGS, start

        plain = read_plain(words, SETTINGS)
        if plain is not None:
            return start(**plain)
    from mpserve.cli.commands import app
    from mpshared.command import run

    return run(app, "mpserve")
