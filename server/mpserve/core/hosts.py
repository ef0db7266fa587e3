"""Worker hosts, and which Processes each of them has: where a Process is placed. One registry per engine.

RULES
* A Process goes to the host with the fewest of them per slot; among equals to the one that came first.
* A host never has more than it allows (`--max-spawned`). When all are full the answer is no, not later:
  processes that wait for each other would wait for ever.
* With no host at all a Process waits for the first one. A host is there once it asks for commands, and not
  while it has no connection.
* A Process with code of one Python goes to hosts with that Python only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from mpshared.errors import NotAllowed, NoWorkers

if TYPE_CHECKING:
    from mpserve.core.calls import Session
    from mpserve.core.effects import Effects
    from mpserve.core.sessions import Sessions

__all__ = ["Guest", "Hosts", "no_python"]


class Guest(Protocol):
    """A Process, as hosts know it."""

    ident: str

    def find_place(self, fx: Effects) -> None:
        """Go to a host, if there is one."""


class Hosts:
    """Which host has which Processes, and which Processes wait for a host."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.guests: dict[str, dict[str, None]] = {}
        """Session id of a supervisor -> idents of the Processes on its host."""
        self._waiting: dict[str, Guest] = {}

    # -- who is where ----------------------------------------------------------------------------

    def arrive(self, supervisor: str, ident: str) -> None:
        """Count a Process on a host."""
        self.guests.setdefault(supervisor, {})[ident] = None

    def leave(self, supervisor: str, ident: str) -> None:
        """Count it no more."""
        of_host = self.guests.get(supervisor, {})
        of_host.pop(ident, None)
        if not of_host:
            self.guests.pop(supervisor, None)

    def is_alive(self, session_id: str) -> bool:
        """Tell whether a session lives: not one that ends in this very turn."""
        session = self.sessions.find(session_id)
        return session is not None and not session.ended

    def command(self, fx: Effects, supervisor: str, **body: Any) -> None:
        """Tell a host what to do."""
        self.sessions.post_command(fx, supervisor, body)

    # -- finding a place -------------------------------------------------------------------------

    def choose(
        self, label: str, python: tuple[int, int] | None, refusals: Mapping[str, str]
    ) -> Session | None:
        """Return the host that a Process goes to, None while there is none at all.

        Args:
            label: The Process, for messages.
            python: The (major, minor) that it needs; None: any.
            refusals: Hosts that could not start it, by session id, and why.

        Raises:
            NoWorkers: None of them has the Python.
            NotAllowed: Each of them is full, or has refused it.
        """
        hosts = [s for s in self.sessions.supervisors.values() if s.connections and not s.ended]
        if not hosts:
            return None
        able = [host for host in hosts if python in {None, host.info.python}]
        if not able:
            raise no_python(label, python or (0, 0), {host.info.python for host in hosts})
        free = [host for host in able if host.id not in refusals and self._has_room(host)]
        if not free:
            raise NotAllowed(_no_room(label, able, refusals))
        return min(free, key=self._load)

    def _has_room(self, host: Session) -> bool:
        return len(self.guests.get(host.id, ())) < host.info.max_spawned

    def _load(self, host: Session) -> float:
        return len(self.guests.get(host.id, ())) / max(1, host.info.slots)

    # -- waiting for a host ----------------------------------------------------------------------

    def wait(self, guest: Guest) -> None:
        """Have a Process find its place when a host comes."""
        self._waiting[guest.ident] = guest

    def give_up(self, guest: Guest) -> None:
        """Forget that it waits."""
        self._waiting.pop(guest.ident, None)

    def ready(self, fx: Effects) -> None:
        """Note that a host asks for commands: those that wait for one find their places."""
        waiting, self._waiting = self._waiting, {}
        for guest in waiting.values():
            guest.find_place(fx)


def no_python(what: str, python: tuple[int, int], there: Iterable[tuple[int, int]]) -> NoWorkers:
    """Return what to raise when no worker host has the Python that `what` needs."""
    versions = sorted(there)
    one, *others = (".".join(map(str, version)) for version in (python, *versions))
    text = (
        f"{what} holds code from Python {one}, which runs on that version only, and the worker hosts have "
        f"Python {', '.join(others)}. Start an mpworker with {one}, or put the code into a module that both "
        "can import"
    )
    return NoWorkers(text, versions=[list(version) for version in versions])


def _no_room(label: str, hosts: list[Session], refusals: Mapping[str, str]) -> str:
    full = [host for host in hosts if host.id not in refusals]
    told = [f"{_name(host)}: {refusals[host.id]}" for host in hosts if host.id in refusals]
    told += [
        f"{_name(host)} has all {host.info.max_spawned} processes that its --max-spawned allows"
        for host in full
    ]
    return (
        f"no worker host can start {label}: {'; '.join(told)}. Wait until some have ended, raise "
        f"mpworker --max-spawned, or start a worker host more"
    )


def _name(host: Session) -> str:
    return host.info.name or host.info.host
