"""Who may begin a session of our own protocol, or join one, what he is told, and why he is refused.

RULES
* A session is joined by who knows its secret, with a key of the role that began it.
* A refusal tells a program what its session, or its thread, held, where that is known.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from mpserve.dispatch.roles import needs
from mpshared import __version__ as VERSION
from mpshared import errors
from mpshared.wire.errors import ProtocolError

if TYPE_CHECKING:
    from mpserve.core.calls import Session
    from mpserve.core.ended import Ended
    from mpserve.dispatch.dispatcher import Dispatcher
    from mpshared.ops import Role

__all__ = [
    "asked_for",
    "check_access",
    "check_lane",
    "end_before",
    "ended",
    "shortcut",
    "too_many_lanes",
    "welcome",
]

# -- a new session ---------------------------------------------------------------------------------


def welcome(
    dispatcher: Dispatcher, session: Session, before: Ended | None, dialled: tuple[str, int] | str
) -> dict[str, Any]:
    """Return what a program is told whose session begins.

    Args:
        dispatcher: The server's.
        session: The new one.
        before: What is known of the session that the program gave up for it.
        dialled: Our address, as the program dialled it.
    """
    limits = dispatcher.limits
    return {
        "session": session.id,
        "secret": session.secret,
        "server": dispatcher.server_id,
        "epoch": dispatcher.epoch,
        "version": VERSION,
        "limits": {
            "max_message": limits.max_message,
            "unanswered": limits.unanswered,
            "kept_bytes": limits.kept_bytes,
        },
        "session_timeout_s": limits.session_timeout_s,
        "grace_s": limits.grace_s,
        "durable": dispatcher.durable,
        "advertise": limits.advertise,
        "before": None if before is None else before.fields(),
        "run": dispatcher.outputs.run,
        "shortcut": shortcut(dispatcher, dialled),
    }


def shortcut(dispatcher: Dispatcher, dialled: tuple[str, int] | str) -> list[str | int] | None:
    """Return the server's shortcut, and where the peer must have dialled to be on this machine."""
    name = dispatcher.shortcut
    return [name, *dialled] if name and type(dialled) is tuple else None


def end_before(dispatcher: Dispatcher, before: dict[str, Any], access: Role) -> Ended | None:
    """End the session that the program gave up, if it is not over; return what it held."""
    engine, session_id, secret = dispatcher.engine, str(before.get("session", "")), before.get("secret")
    session = engine.find_session(session_id)
    if session is not None and _is_secret(session.secret, secret):
        check_access(session, access)
        dispatcher.end_session(session, "its program gave it up for a new one", parted=False)
    known = engine.find_ended(session_id)
    return known if known is not None and _is_secret(known.secret, secret) else None


# -- one more connection, or lane ------------------------------------------------------------------


def asked_for(dispatcher: Dispatcher, body: dict[str, Any]) -> tuple[Session, int, int]:
    """Return which session is to be joined, by which lane, and up to where that has its answers.

    Raises:
        SessionExpired: There is no such session any more.
        ProtocolError: The secret is not its secret, or a number is none.
    """
    session = dispatcher.engine.find_session(str(body.get("session", "")))
    secret, number, ack = body.get("secret"), body.get("lane"), body.get("ack", 0)
    if session is None:
        raise _unknown(dispatcher, str(body.get("session", "")), secret)
    if not _is_secret(session.secret, secret):
        raise ProtocolError("attach", "that is not the secret of the session")
    if type(number) is not int or not 0 <= number < 1 << 31:
        raise ProtocolError("attach", f"{number!r:.40} is no lane number")
    if type(ack) is not int:
        raise ProtocolError("attach", f"{ack!r:.40} is no number of a call")
    return session, number, ack


def check_access(session: Session, access: Role) -> None:
    """Refuse a session of another role; one of before a restart gets that of who comes first."""
    if session.access is None:
        session.grant(access)
    elif session.access != access:
        raise needs(session.access, access, f"session {session.id}, which began with that key,")


def check_lane(session: Session, number: int) -> None:
    """Refuse a thread that had no connection for too long; its program's others go on."""
    known = session.expired_lanes.get(number)
    if known is not None:
        text = "this thread had no connection to the server for too long, and what it held was handed on"
        raise errors.SessionExpired(text, lane=number, **known.fields())


# -- refusals --------------------------------------------------------------------------------------


def too_many_lanes(dispatcher: Dispatcher) -> errors.NoRoom:
    """Return what a thread is told that is one too many."""
    most = dispatcher.limits.lanes
    return errors.NoRoom(
        f"this program has {most} threads and tasks that call, as many as one may (--max-lanes); end "
        "some, or start the server with more"
    )


def ended(dispatcher: Dispatcher, session_id: str, why: str) -> errors.SessionExpired:
    """Return what a program is told whose session has ended, with what it held if that is known."""
    known = dispatcher.engine.find_ended(session_id)
    return errors.SessionExpired(_over(session_id, why), **({} if known is None else known.fields()))


def _unknown(dispatcher: Dispatcher, session_id: str, secret: Any) -> errors.SessionExpired:
    """Return why a session cannot be joined: it ended, or it is of another server's life."""
    epoch, known = dispatcher.epoch, dispatcher.engine.find_ended(session_id)
    if known is not None and _is_secret(known.secret, secret):
        return errors.SessionExpired(_over(session_id, known.why), epoch=epoch, **known.fields())
    text = "the server does not know this program's session: it expired, or the server was restarted"
    return errors.SessionExpired(text, epoch=epoch)


def _is_secret(secret: str, given: Any) -> bool:
    return type(given) is str and hmac.compare_digest(secret.encode(), given.encode())


def _over(session_id: str, why: str) -> str:
    return f"the server ended session {session_id} of this program: {why}; what it held was handed on"
