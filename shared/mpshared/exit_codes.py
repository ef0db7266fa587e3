"""How `mpserve` and `mpworker` end: THE table of exit codes.

`docs/reference/exit-codes.md` is made from it by `scripts/reference`. Codes are part of the interface: a code is never given
another meaning. 126 and above belong to shells, which report a process killed by signal N as 128 + N.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """An exit code, with who ends so and what it means."""

    commands: tuple[str, ...]
    meaning: str

    def __new__(cls, code: int, commands: tuple[str, ...], meaning: str) -> ExitCode:
        member = int.__new__(cls, code)
        member._value_ = code
        member.commands = commands
        member.meaning = meaning
        return member

    OK = 0, ("mpserve", "mpworker"), "Done what was asked, or stopped cleanly by SIGTERM, SIGINT or (a worker) by its pills."
    FAILED = 1, ("mpserve", "mpworker"), "Not done: `ping` found no server, `rm` no such object, or an error that this program did not expect."
    USAGE = 2, ("mpserve", "mpworker"), "The command line, or an MPSERVE_ variable, says something that cannot be understood or is refused."
    CANNOT_LISTEN = 3, ("mpserve",), "The address cannot be listened at: the port is taken, or the host is not this machine's."
    BAD_KEY = 4, ("mpserve", "mpworker"), "There is no key, it must not be used, or the server has another one."
    UNREACHABLE = 5, ("mpserve", "mpworker"), "No server answered within the time allowed."
    INCOMPATIBLE = 6, ("mpserve", "mpworker"), "What answered does not speak a version of the protocol that this program knows."
    INTERRUPTED = 7, ("mpworker",), "Stopped at once by a second signal; jobs that were running were handed back unfinished."
