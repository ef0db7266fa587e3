"""The limits that a server has settings for, as a part of the table of `settings`.

What each is for, who else has such a one, and what who reaches it sees: `docs/explanation/security.md`.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from mpshared.setting import Setting, User, positive_duration, positive_size, setting
from mpshared.units import parse_count

__all__ = ["CONNECTIONS_MAX", "LIMITS"]

_SERVER: Final[tuple[User, ...]] = ("server",)
CONNECTIONS_MAX: Final = 65536
"""Unless given, where the system lets the server have as many files open: ten thousand clients of several
threads each. Precedent: NATS, 64 K."""

MAX_CONNECTIONS: Final[Setting[int | None]] = setting(
    name="max_connections",
    users=_SERVER,
    metavar="N",
    parse=partial(parse_count, least=1),
    default=None,
    help="Connections at once; a program has one for itself and one for each of its threads. Unless given: "
    f"{CONNECTIONS_MAX}, or as many as the system lets the server have files open.",
)
MAX_CONNECTIONS_PER_ADDRESS: Final[Setting[int]] = setting(
    name="max_connections_per_address",
    users=_SERVER,
    metavar="N",
    parse=partial(parse_count, least=1),
    default=32768,
    help="Connections at once from one address, from 64 bits of a global IPv6 one, or from this machine "
    "(loopback and Unix sockets together).",
)
"""Half of all. Precedent: ZooKeeper's maxClientCnxns, 60; here all of a host's worker processes have some."""
MAX_UNAUTHENTICATED: Final[Setting[int]] = setting(
    name="max_unauthenticated",
    users=_SERVER,
    metavar="N",
    parse=partial(parse_count, least=2),
    default=2048,
    help="Connections at once that have not proved their key yet; at this number the oldest is closed for "
    "the next one, and an address that has half of them loses its own oldest.",
)
"""Precedent: OpenSSH's MaxStartups 10:30:100, and PerSourceMaxStartups."""
AUTH_TIMEOUT: Final[Setting[float]] = setting(
    name="auth_timeout",
    users=_SERVER,
    metavar="DURATION",
    parse=partial(positive_duration, least_s=0.1, example="100ms"),
    default=10.0,
    shown="10s",
    help="How long a new connection has to prove its key.",
)
"""Precedent: PostgreSQL's authentication_timeout, 1 min; here nobody types a password."""
MAX_FAILURES: Final[Setting[int]] = setting(
    name="max_failures",
    users=_SERVER,
    metavar="N",
    parse=partial(parse_count, least=1),
    default=20,
    help="Failed attempts of an address, one forgiven each second, after which its next connections are "
    "answered a second later. The log tells of so many in a minute by the line, and of the rest in a sum.",
)
"""Precedent: OpenSSH's PerSourcePenalties authfail:5s min:15s, three failures."""
MAX_MESSAGE: Final[Setting[int]] = setting(
    name="max_message",
    users=_SERVER,
    metavar="SIZE",
    parse=partial(positive_size, least=64 << 10, example="64K"),
    default=256 << 20,
    shown="256M",
    help="Largest message accepted from a client.",
)
"""Precedent: Redis' proto-max-bulk-len, 512 MB."""
MAX_OBJECTS: Final[Setting[int]] = setting(
    name="max_objects",
    users=_SERVER,
    metavar="N",
    parse=partial(parse_count, least=1),
    default=1_000_000,
    help="Objects on the server: queues, locks, dicts and all others, with a name or without.",
)
"""A GB of empty ones. Precedent: none that is common; RabbitMQ's max-queues is unlimited unless set."""
MAX_NAMES: Final[Setting[int]] = setting(
    name="max_names",
    users=_SERVER,
    metavar="N",
    parse=partial(parse_count, least=1),
    default=100_000,
    help="Objects with a name.",
)
"""To list them takes a tenth of a second."""
MAX_SESSION_OBJECTS: Final[Setting[int]] = setting(
    name="max_session_objects",
    users=_SERVER,
    metavar="N",
    parse=partial(parse_count, least=1),
    default=250_000,
    help="Objects that one program may refer to when it makes another.",
)
"""So no program alone can use up what there is for all."""
MAX_LANES: Final[Setting[int]] = setting(
    name="max_lanes",
    users=_SERVER,
    metavar="N",
    parse=partial(parse_count, least=2),
    default=65536,
    help="Threads and asyncio tasks of one program that call the server; each can have one call that "
    "waits there.",
)
"""Precedent: RabbitMQ's channel_max, 2047 for a connection; here every asyncio task has one."""
MAX_WAITING: Final[Setting[int]] = setting(
    name="max_waiting",
    users=_SERVER,
    metavar="SIZE",
    parse=partial(positive_size, least=64 << 10, example="64K"),
    default=1 << 30,
    shown="1G",
    help="Values of one program's calls that wait, as puts to full queues do; one such call is always let "
    "in.",
)
"""Four messages of the usual `--max-message`. Precedent: Redis' client-query-buffer-limit, 1 GB."""
MAX_UNREAD: Final[Setting[int]] = setting(
    name="max_unread",
    users=_SERVER,
    metavar="SIZE",
    parse=partial(positive_size, least=64 << 10, example="64K"),
    default=256 << 20,
    shown="256M",
    help="Large answers that the server keeps for one program until it acknowledges them.",
)
"""Beyond this a lane must acknowledge what it had before it may ask for more. As much as the largest message;
a lane that acknowledges as it goes is never refused."""

LIMITS: Final[tuple[Setting[object], ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Setting)
)
