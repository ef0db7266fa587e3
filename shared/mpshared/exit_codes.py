"""How `mpserve` and `mpworker` end: THE table of exit codes.

`docs/reference/exit-codes.md` is made from it by `scripts/reference`. Codes are part of the interface: a code
is never given another meaning. 126 and above belong to shells, which report a process killed by signal N as
128 + N.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Self

__all__ = ["ExitCode"]


_BOTH = ("mpserve", "mpworker")


class ExitCode(IntEnum):
    """An exit code, with who ends so and what it means."""

    commands: tuple[str, ...]
    meaning: str

    def __new__(cls, code: int, commands: tuple[str, ...], meaning: str) -> Self:
        """Keep the code as the number, the rest beside it."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.commands = commands
        member.meaning = meaning
        return member

    OK = 0, _BOTH, "Done what was asked, or stopped cleanly by SIGTERM, SIGINT or (a worker) by its pills."
    FAILED = (
        1,
        _BOTH,
        "Not done: `ping` found no server, `rm` no such object, or something unexpected happened.",
    )
    USAGE = 2, _BOTH, "The command line, or an MPSERVE_ variable, cannot be understood or is refused."
    CANNOT_LISTEN = 3, ("mpserve",), "The port is taken, or the host is not an address of this machine."
    BAD_KEY = (
        4,
        _BOTH,
        "There is no key, it must not be used, or the server has another one; or so with a certificate.",
    )
    UNREACHABLE = 5, _BOTH, "No server answered within the time allowed."
    INCOMPATIBLE = 6, _BOTH, "What answered speaks no version of the protocol that this program knows."
    INTERRUPTED = 7, ("mpworker",), "Stopped at once by a second signal; jobs that ran were handed back."
    NO_DATA = (
        8,
        ("mpserve",),
        "The folder for the data cannot be used: another server has it, or it is damaged.",
    )
