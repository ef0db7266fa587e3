"""Who may come in: how many connections there are and whose, and which addresses have failed too often.

      knock --too many--> TurnedAway: told why, closed
        |---its address failed too often--> held for SLOW_S --.
        '-----------------------------------------------------+--> unknown --its key--> known --> gone

RULES
* Nothing is measured here: the time is an argument, sockets are somebody else's.
* An address is one of IPv4, one of IPv6 inside a site (link-local, unique local), 64 bits of a global one
  (what one customer of a network is given at least, to take any of its addresses), or this machine: loopback
  and Unix sockets together.
* Where too many are unknown, the oldest gives way and no newcomer is kept out: a handshake takes
  milliseconds. An address that has half of the places gives way itself, so it costs others nothing.
* Failed attempts slow their address down by `SLOW_S` for each new connection, also of who has the key; they
  keep nobody out who asks again, and connections that exist notice nothing.
* What is known of addresses is bounded: `ADDRESSES_MAX`, then what failed longest ago is forgotten.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from mpshared import limits as table

__all__ = [
    "ADDRESSES_MAX",
    "HELD_MAX",
    "SLOW_S",
    "THIS_MACHINE",
    "Gate",
    "GateLimits",
    "TurnedAway",
    "origin_of",
]

T = TypeVar("T")

THIS_MACHINE: Final = "this machine"
SLOW_S: Final = 1.0
"""How long the next connections of an address that failed too often are held. Precedent: OpenSSH's
PerSourcePenalties (authfail:5s), which keeps who has the key out as well, and for longer."""
HELD_MAX: Final = 100
"""Connections of one address that are held at once: so many attempts in `SLOW_S`. Precedent: OpenSSH's
MaxStartups 10:30:100."""
ADDRESSES_MAX: Final = 4096
"""Addresses whose failures are known. Precedent: OpenSSH's PerSourcePenalties max-sources4:65536."""
_GLOBAL: Final = ipaddress.IPv6Network("2000::/3")
"""Addresses that IANA gives to networks. Outside of it, as in fe80::/64 or behind NAT64 (64:ff9b::/96), 64
bits are many hosts."""
_FORGIVEN_A_SECOND: Final = 1.0
_REMEMBERED: Final = 10
"""Failures beyond the limit that count: as many seconds after the last one, an address is as all others."""


@dataclass(frozen=True, slots=True)
class GateLimits:
    """How many there may be; the same names as the options of `mpserve start`."""

    max_connections: int = table.CONNECTIONS_MAX
    max_connections_per_address: int = table.MAX_CONNECTIONS_PER_ADDRESS.default
    max_unauthenticated: int = table.MAX_UNAUTHENTICATED.default
    auth_timeout_s: float = table.AUTH_TIMEOUT.default
    max_failures: int = table.MAX_FAILURES.default


class TurnedAway(Exception):
    """One who knocked may not come in; the text is for his eyes. Attributes: `limit` names the setting."""

    def __init__(self, limit: str, text: str) -> None:
        super().__init__(text)
        self.limit = limit


class Gate(Generic[T]):
    """See the file's beginning; T is whatever stands for a connection.

    Args:
        limits: How many there may be.
        refused: Where refusals are counted: see `Bounds.refused`.
    """

    def __init__(self, limits: GateLimits, refused: Counter[str]) -> None:
        self.limits = limits
        self.refused = refused
        self.open = 0
        self._by_address: Counter[str] = Counter()
        self._held: Counter[str] = Counter()
        self._held_in_all = 0
        self.held_so_far = 0
        self._unknown: OrderedDict[T, str] = OrderedDict()
        self._unknown_by: dict[str, OrderedDict[T, None]] = {}
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """How many attempts failed, less those forgiven since, and when that was so."""

    # -- coming and going ------------------------------------------------------------------------

    def knock(self, origin: str, now_s: float) -> float:
        """Count a new connection; return how long it is to be held before it `arrive`s.

        Raises:
            TurnedAway: It may not come in, and is not counted.
        """
        limits = self.limits
        if self.open >= limits.max_connections:
            as_many = "as many as it takes (--max-connections, ulimit -n)"
            text = f"the server has {self.open} connections, {as_many}"
            raise self._turned_away("max-connections", text)
        if self._by_address[origin] >= limits.max_connections_per_address:
            most = limits.max_connections_per_address
            text = f"{most} connections from your address (--max-connections-per-address)"
            raise self._turned_away("max-connections-per-address", text)
        slow = self.failures(origin, now_s) > limits.max_failures
        if slow:
            self._hold(origin)
        self.open += 1
        self._by_address[origin] += 1
        return SLOW_S if slow else 0.0

    def _hold(self, origin: str) -> None:
        if self._held[origin] >= HELD_MAX or self._held_in_all >= self.limits.max_unauthenticated:
            text = (
                "too many failed attempts from your address (--max-failures), yours or those of others who "
                "share it; check your key"
            )
            raise self._turned_away("max-failures", text)
        self._held[origin] += 1
        self._held_in_all += 1
        self.held_so_far += 1

    def _turned_away(self, limit: str, text: str) -> TurnedAway:
        self.refused[limit] += 1
        return TurnedAway(limit, f"{text}; try again later")

    def held_long_enough(self, origin: str) -> None:
        """Note that a connection that was held goes on, or is gone."""
        _count_down(self._held, origin)
        self._held_in_all -= 1

    def arrive(self, connection: T, origin: str) -> T | None:
        """Note that a connection authenticates from now on; return the one that has to give way."""
        own = self._unknown_by.setdefault(origin, OrderedDict())
        oldest = self._which_gives_way(own)
        self._unknown[connection] = origin
        own[connection] = None
        if oldest is not None:
            self.refused["max-unauthenticated"] += 1
        return oldest

    def _which_gives_way(self, own: OrderedDict[T, None]) -> T | None:
        most = self.limits.max_unauthenticated
        if own and len(own) >= max(1, most // 2):
            return next(iter(own))
        return next(iter(self._unknown)) if len(self._unknown) >= most else None

    def authenticated(self, connection: T) -> None:
        """Note that a connection's key is known now, or will never be."""
        origin = self._unknown.pop(connection, None)
        if origin is None:
            return
        own = self._unknown_by[origin]
        del own[connection]
        if not own:
            del self._unknown_by[origin]

    def gone(self, connection: T, origin: str) -> None:
        """Forget a connection that is closed."""
        self.authenticated(connection)
        self.leave(origin)

    def leave(self, origin: str) -> None:
        """Count a connection no more."""
        self.open -= 1
        _count_down(self._by_address, origin)

    # -- failures --------------------------------------------------------------------------------

    def failed(self, origin: str, now_s: float) -> None:
        """Count a failed attempt. Cost: O(1)."""
        most = float(self.limits.max_failures + _REMEMBERED)
        self._failures[origin] = min(most, self.failures(origin, now_s) + 1), now_s
        self._failures.move_to_end(origin)
        self.refused["failed-attempts"] += 1
        if len(self._failures) > ADDRESSES_MAX:
            self._failures.popitem(last=False)

    def failures(self, origin: str, now_s: float) -> float:
        """Return how many attempts of an address failed, less those that are forgiven."""
        found = self._failures.get(origin)
        if found is None:
            return 0.0
        left = found[0] - (now_s - found[1]) * _FORGIVEN_A_SECOND
        if left > 0:
            return left
        del self._failures[origin]
        return 0.0

    # -- looking ---------------------------------------------------------------------------------

    def statistics(self) -> dict[str, int]:
        """Return what `mpserve status` shows."""
        unknown = len(self._unknown) + self._held_in_all
        return {
            "open": self.open,
            "limit": self.limits.max_connections,
            "unauthenticated": unknown,
            "held_so_far": self.held_so_far,
        }

    def validate(self) -> None:
        """Raise AssertionError unless the counts agree."""
        assert self.open == sum(self._by_address.values())
        assert all(n > 0 for n in self._held.values())
        assert self._held_in_all == sum(self._held.values())
        assert self._unknown == {one: origin for origin, own in self._unknown_by.items() for one in own}
        assert all(self._unknown_by.values())


def _count_down(counts: Counter[str], origin: str) -> None:
    counts[origin] -= 1
    if counts[origin] <= 0:
        del counts[origin]


def origin_of(sockaddr: object) -> str:
    """Return what stands for all peers that count as one, given the address of a socket's other end."""
    if not isinstance(sockaddr, tuple):
        return THIS_MACHINE
    found = ipaddress.ip_address(sockaddr[0].partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found
    if found.is_loopback:
        return THIS_MACHINE
    if found in _GLOBAL:
        return f"{ipaddress.IPv6Address(int(found) >> 64 << 64)}/64"
    # two links may each have a host of the same link-local address
    return f"{found}%{sockaddr[3]}" if found.is_link_local and found.version == 6 else str(found)
