"""The forms of the standard library's requests and replies: what is taken apart, and put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mpserve.dispatch.faces import Plan
from mpshared import errors, symbolic
from mpshared.symbolic import DEFAULT, Global, How, Stub, Verb
from mpshared.wire.errors import ProtocolError
from mpshared.wire.framing import frame_header

if TYPE_CHECKING:
    from mpshared.values import Blob

__all__ = [
    "ERROR",
    "PAIR",
    "PAIR_ENDS",
    "PROXY",
    "RETURN",
    "TRACEBACK",
    "UNSERIALIZABLE",
    "debug_text",
    "finish_with",
    "no_object",
    "pair_around",
    "read_request",
    "token",
    "token_ident",
]

RETURN: Final = "#RETURN"
PROXY: Final = "#PROXY"
ERROR: Final = "#ERROR"
TRACEBACK: Final = "#TRACEBACK"
UNSERIALIZABLE: Final = "#UNSERIALIZABLE"
"""What a reply is; a pair of this and a payload is sent. The last three: see `stock_errors`."""
PAIR: Final = b"\x80\x04\x8c\x07#RETURN"
"""The beginning of a reply; a value follows, as an opcode that makes it."""
PAIR_ENDS: Final = b"\x86."
_PICKLE: Final = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_JOINED_BYTES: Final = 4 << 10
"""A message that is larger is not copied together."""
_ARGUMENTS: Final = frozenset({tuple, list, str})
"""Types of what comes as arguments: tuples, but `_callmethod("get", "a")` has always worked."""


def pair_around(blob: Blob) -> list[bytes]:
    """Return the message with this value, whose pickle becomes a part of it; [] where that cannot be."""
    if type(blob) is not bytes or not (blob.startswith(_PICKLE) and blob.endswith(b".")):
        return []
    size = len(blob) - 1 + len(PAIR) + len(PAIR_ENDS)
    if size <= _JOINED_BYTES:
        return [b"".join((frame_header(size), PAIR, blob[:-1], PAIR_ENDS))]
    return [frame_header(size), PAIR, memoryview(blob)[:-1], PAIR_ENDS]  # type: ignore[list-item]


def no_object(ident: Any) -> errors.NoSuchObject:
    """Return the error for an ident that nothing has."""
    shown = f"{ident!r:.80}" if type(ident) is str else f"named by a {type(ident).__name__}"
    return errors.NoSuchObject(
        f"the server has no object {shown}: it was freed or deleted, or the server was restarted"
    )


def finish_with(plan: Plan, last: Callable[[Any, Any], Any]) -> None:
    """Let `last` make the result from what the whole chain of plans gives."""
    then = plan.then

    def go_on(result: Any, out: Any) -> Any:
        following = then(result, out)
        if isinstance(following, Plan):
            finish_with(following, last)
            return following
        return last(following, ())

    plan.then = go_on


_TOKEN: Final = Global("multiprocessing.managers", "Token")


def token(typeid: str, address: Any, ident: str) -> Stub:
    """Return what a client makes a proxy from."""
    made = Stub(How.NEW, _TOKEN, ())
    made.steps.append((Verb.STATE, (typeid, address, ident)))
    return made


def token_ident(token: Any) -> str:
    """Return the ident in a token."""
    match token:
        case Stub(callee=callee, steps=[(Verb.STATE, (_, _, str(ident)))]) if callee == _TOKEN:
            return ident
    raise TypeError("expected a multiprocessing.managers.Token")


def read_request(
    payload: bytes, limits: symbolic.Limits = DEFAULT
) -> tuple[Any, str, tuple[Any, ...], dict[str, Any]]:
    """Open a request: ident, method, args, kwds."""
    request = symbolic.load(payload, limits=limits)
    if type(request) is tuple and len(request) == 4:
        ident, method, args, kwds = request
        if type(method) is str and type(kwds) is dict and type(args) in _ARGUMENTS:
            return ident, method, tuple(args), kwds
    raise ProtocolError("request", "expected (ident, method, args, kwds)")


def debug_text(status: Any, _out: Any) -> str:
    """Return the objects of a status as the standard library's server lists them."""

    def row(each: dict[str, Any]) -> str:
        name = each["name"] or each.get("typeid", "")
        return f"  {each['ident']}:       refcount={each['references']}\n    {each['kind']} {name}"

    return "\n".join(map(row, status["objects"]))
