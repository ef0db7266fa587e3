"""Write the reference pages that come from tables in the code: `scripts/reference`.

RULES
* A page is made by one function without arguments; the same table makes the same page, byte for byte.
* A test compares every page with what its table says now.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from mpserve.cli.asking import SETTINGS as ASKING
from mpshared.exit_codes import ExitCode
from mpshared.settings import Setting, User, for_user

_HEADINGS: dict[User, str] = {
    "server": "The server: `mpserve start`",
    "worker": "A worker host: `mpworker`",
    "client": "Programs, and the commands that ask a server",
}
_MADE = "<!-- Made by scripts/reference. Change the table that it comes from instead. -->"


def exit_codes() -> str:
    """Make the page of exit codes."""
    rows = (
        (str(int(code)), f"`{code.name}`", _names(code.commands), code.meaning.replace("|", "\\|"))
        for code in ExitCode
    )
    return f"""# Exit codes

{_MADE}

How the two commands end. The table in the code is `mpshared/exit_codes.py`.

{_table(("code", "name", "commands", "meaning"), rows)}
126 and above come from the shell: a process that signal N killed is reported as 128 + N.
"""


def settings() -> str:
    """Make the page of settings."""
    parts = "\n".join(f"## {heading}\n\n{_settings_of(user)}" for user, heading in _HEADINGS.items())
    return f"""# Settings

{_MADE}

An option wins over its environment variable, the variable over the default. A variable that is set to nothing
counts as not set. The table in the code is `mpshared/settings.py`.

Durations are written like `30s`, `500ms`, `2m`, `1.5h`; a plain number means seconds. Sizes are written like
`256M` or `1.5GiB` (powers of 1024); a plain number means bytes.

The key itself has no option, because command lines are visible to every user of a machine: `MPSERVE_AUTHKEY`
holds it as text, `MPSERVE_AUTHKEY_FILE` names a file that holds it. Programs (`import mpclient`) have the
variables and arguments of the same meaning; the options are those of commands.

{parts}"""


PAGES: dict[str, Callable[[], str]] = {
    "docs/reference/exit-codes.md": exit_codes,
    "docs/reference/settings.md": settings,
}


def _settings_of(user: User) -> str:
    rows = (
        (
            _option(setting) if user != "client" or setting in ASKING else "",
            f"`{setting.env}`",
            f"`{setting.shown}`" if setting.shown else "",
            _help(setting),
        )
        for setting in for_user(user)
    )
    return _table(("option", "environment", "default", "meaning"), rows)


def _option(setting: Setting[object]) -> str:
    return f"`{setting.option} {setting.metavar}".rstrip() + "`" if setting.option else ""


def _help(setting: Setting[object]) -> str:
    choices = f" One of: {', '.join(f'`{choice}`' for choice in setting.choices)}." if setting.choices else ""
    return (setting.help + choices).replace("|", "\\|")


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Write the pages whose table has changed."""
    root = Path(__file__).resolve().parents[1]
    for name, make in PAGES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != make():
            path.write_text(make(), "utf-8")
            print(f"wrote {name}", file=sys.stderr)


if __name__ == "__main__":
    main()
