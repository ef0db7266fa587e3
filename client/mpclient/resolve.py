"""What an `open_ref` in a pickle becomes: a live object of this process's own connection.

| where the pickle comes from                   | which session                                             |
|-----------------------------------------------|-----------------------------------------------------------|
| a value that the server delivered             | the one it was delivered to                               |
| elsewhere, and this process knows the address | that one                                                  |
| elsewhere, and this process has one session   | that one, if its server has the object (hosts name a      |
|                                               | server differently); else the address is dialled          |
| elsewhere, in a process without a session     | the address is dialled, with the key that came along,     |
|                                               | that lies beside a program's own server, or is found      |
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final

from mpclient.objects import make
from mpclient.session import Session, living_sessions
from mpclient.values.pickling import current_session
from mpshared.address import Address
from mpshared.errors import NoSuchObject, ServerGone

if TYPE_CHECKING:
    from mpclient.transport.references import Handle
    from mpclient.transport.term import SessionBase
    from mpshared.keys import Key
    from mpshared.tls import ClientTls

__all__ = ["learn_key", "resolve", "session_at", "session_for"]

_keys: Final[dict[str, tuple[bytes, ClientTls | None]]] = {}
"""Keys, and where TLS has its files, that came with what `multiprocessing` gave this child process, by
address."""
_opening = threading.Lock()


def _forked() -> None:
    global _opening  # noqa: PLW0603 - a thread of the parent's may have held it
    _opening = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def learn_key(address: str, key: bytes, tls: ClientTls | None) -> None:
    """Remember the key of a server, and how TLS is spoken with it, given by the parent process."""
    _keys[address] = key, tls


def resolve(kind: str, ident: str, address: str) -> Any:
    """Return the live object for a reference; see `mpshared.values.open_ref`.

    Raises:
        NoSuchObject: It was freed.
        ServerGone, NotAllowed: The server cannot be reached, or the key is another.
    """
    session = current_session()
    if session is not None and not address:
        return session.make(kind, session.adopt(ident))
    return make(kind, _handle_elsewhere(ident, address))


def _handle_elsewhere(ident: str, address: str) -> Handle:
    session = _find_session(address)
    if session is not None:
        return session.adopt(ident)
    living = living_sessions()
    if living and (len(living) == 1 or not address):
        try:
            return living[-1].adopt(ident)
        except NoSuchObject:
            if not address:
                raise
    if not address:
        raise ServerGone(
            f"the shared object {ident} belongs to a server that this program is not connected to"
        )
    return session_at(address).adopt(ident)


def session_for(address: str) -> SessionBase:
    """Return the session at an address; "": that of the value being opened, else this process's only one."""
    session = current_session()
    if session is not None and not address:
        return session
    living = living_sessions()
    if len(living) == 1:
        return living[0]
    if not address:
        raise ServerGone(
            "a value mentions the cluster it came from, which is not known here; connect() to it first"
        )
    return session_at(address)


def session_at(address: str) -> Session:
    """Return this process's session at an address; a new one if there is none."""
    with _opening:
        session = _find_session(address)
        if session is not None:
            return session
        place = Address.parse(address)
        found: tuple[bytes | Key, ClientTls | None] = _keys.get(address) or _found_for(place)
        return Session(place, found[0], tls=found[1])


def _find_session(address: str) -> Session | None:
    here = (session for session in living_sessions() if address in {str(session.address), session.advertise})
    return next(here, None)


def _found_for(place: Address) -> tuple[Key, ClientTls | None]:
    from mpclient.cluster import read_tls  # noqa: PLC0415 - the import would be circular
    from mpshared.keys import find_key, find_key_beside  # noqa: PLC0415 - most children are given theirs

    return find_key_beside(place.path) or find_key(), read_tls(place)
