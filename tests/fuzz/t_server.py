"""Targets: the server behind its handshake, with no sockets and a clock that stands still.

What a peer says is acted on by the real dispatcher and the real engine. Afterwards time passes, the peer
goes, and everything that is kept is validated. The answers are read as a client reads them: none may be a
mistake of ours.
"""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import count
from types import CodeType
from typing import Any, Final
from unittest.mock import patch

from tests.fuzz.mutators import cut_own, cut_stock, join_own

from mpserve.core import t_array, t_list
from mpserve.core.calls import Session, SessionInfo
from mpserve.dispatch.dispatcher import Dispatcher, Limits
from mpserve.dispatch.own import OwnSide
from mpserve.dispatch.registered import RegisteredClasses
from mpserve.dispatch.stock import StockSide
from mpserve.dispatch.stock_errors import failure
from mpserve.engines import memory
from mpserve.engines.memory import MemoryEngine
from mpshared import symbolic
from mpshared.errors import MpserveError
from mpshared.ops import Role
from mpshared.symbolic import MalformedPickle
from mpshared.wire.errors import ProtocolError
from mpshared.wire.framing import FrameReader
from mpshared.wire.own import frames
from mpshared.wire.own.frames import Failed, FrameDecoder, Type

__all__ = ["NEW", "SECRET", "SESSION", "World", "own_calls", "small_limits", "stock_requests"]

SESSION, SECRET = "session-1", "secret"
"""Of the first session: a seed may attach more lanes to it."""
NEW: Final = {"new": {"role": "program", "python": [3, 11], "host": "here", "pid": 1}}
GRACE_S, TIMEOUT_S = 0.5, 30.0
_LIMITS: Final = Limits(max_message=1 << 16, session_timeout_s=TIMEOUT_S, grace_s=GRACE_S)


@contextmanager
def small_limits() -> Iterator[None]:
    """Lower what one call may make by the documented limits: the rule's bounds show what goes beyond them.

    And what an engine keeps for bad times, as there is one for each input, and some wait to be collected.
    """
    with (
        patch.object(memory, "RESERVE_BYTES", 1 << 10),
        patch.multiple(t_list, MAX_REPEATED=1 << 16, MOST_REPEATED=1 << 16),
        patch.object(t_array, "MAX_SIZE_BYTES", 1 << 20),
    ):
        yield


class _Log:
    """A log that minds mistakes only."""

    def info(self, event: str, **fields: Any) -> None:
        pass

    debug = warning = info

    def error(self, event: str, **fields: Any) -> None:
        raise Mistake(f"{event}: {fields}") from fields.get("exc_info")

    def bind(self, **_fields: object) -> _Log:
        return self


class Mistake(BaseException):
    """The server called something a mistake of its own; nothing on the way catches this."""


class _Dispatcher(Dispatcher):
    """One whose sessions have names that seeds know."""

    def start_session(self, info: SessionInfo, access: Role = "client") -> Session:
        session = self.engine.start_session(f"session-{next(_numbers)}", info, SECRET, self.clock())
        session.grant(access)
        return session


_numbers = count(1)


class World:
    """An engine and a dispatcher; time passes when it is told to."""

    def __init__(self, *, recording: bool = False) -> None:
        global _numbers  # noqa: PLW0603 - each world begins with session 1
        _numbers = count(1)
        self.now_s = 1000.0
        idents = count(1)
        self.engine = MemoryEngine(
            lambda: f"id{next(idents)}", grace_s=GRACE_S, session_timeout_s=TIMEOUT_S, recording=recording
        )
        self.stopped: list[str] = []
        self.dispatcher = _Dispatcher(
            self.engine,
            lambda: self.now_s,
            _Log(),  # type: ignore[arg-type]  # as much of one as is asked for
            limits=_LIMITS,
            stop=self.stopped.append,
        )
        self.registered = RegisteredClasses({}, lambda _: None, self.engine.kind_of, lambda: self.now_s)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and do what is due meanwhile."""
        self.now_s += seconds
        deadline_s = self.engine.next_deadline_s()
        if deadline_s is not None and deadline_s <= self.now_s:
            self.engine.advance(self.now_s)

    def validate(self) -> None:
        """Require that whatever is kept fits together."""
        fx, catalogue = self.engine.fx, self.engine.catalogue
        assert not [*fx.answered, *fx.kept, *fx.ended, *fx.closed], "a turn was left unfinished"
        catalogue.validate()
        outputs = [s.output._kept_bytes for s in catalogue.sessions if s.output is not None]
        kept = sum(s.kept_bytes for s in catalogue.sessions) + sum(outputs)
        fx.room.validate(catalogue.objects.values(), kept)

    def end(self, side: OwnSide | StockSide) -> None:
        """Let time pass, have the peer go, and let more time pass; validate before and after."""
        self.validate()
        self.pass_time(TIMEOUT_S / 2)
        side.closed()
        self.pass_time(10 * TIMEOUT_S)
        self.validate()
        assert not self.engine.catalogue.sessions, "a session outlives its connections"


class Wire:
    """A transport that keeps what it is given."""

    label = "fuzz"
    full = False

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closing = False

    def send(self, pieces: Sequence[bytes]) -> None:
        if not self.closing:
            self.sent += pieces

    def close(self, reason: str = "") -> None:
        _ = reason
        self.closing = True

    def dialled(self) -> tuple[str, int]:
        return "127.0.0.1", 7707

    def taken(self) -> bytes:
        """Return what was sent since the last time."""
        data = b"".join(self.sent)
        self.sent.clear()
        return data


# -- our own protocol -------------------------------------------------------------------------------


def own_calls(data: bytes) -> bytes:
    """Say frames to the server, one by one, behind an ATTACH if they bring none; return what it says."""
    with small_limits():
        return say(World(), Wire(), data)


def say(world: World, wire: Wire, data: bytes) -> bytes:
    """Say frames to a world over a wire; return what was answered."""
    cut, rest = cut_own(data)
    side = OwnSide(world.dispatcher, wire)
    if not cut or cut[0][0] != Type.ATTACH:
        side.receive_data(frames.encode_control(Type.ATTACH, body=NEW)[0])
    for frame in (*map(join_own, cut), rest):
        if wire.closing:
            break
        side.receive_data(frame)
        side.drained()
    answers = wire.taken()
    _read_answers(answers)
    world.end(side)
    _read_answers(wire.taken())
    return answers


def _read_answers(data: bytes) -> None:
    decoder = FrameDecoder(1 << 30)
    decoder.receive_data(data)
    while (event := decoder.next_event()) is not None:
        assert not isinstance(event, frames.Call), "a server does not call"
        if isinstance(event, Failed):
            assert event.code != "internal", event.text
            assert not event.text.startswith("the answer of"), event.text
    assert decoder.idle, "a frame was sent in part"


# -- the standard library's --------------------------------------------------------------------------

_KINDS: Final = frozenset({"#RETURN", "#PROXY", "#ERROR", "#TRACEBACK", "#UNSERIALIZABLE"})
_OUR_ERRORS: Final = (MpserveError, MalformedPickle, ProtocolError)


def _failure(err: Exception, key: Any, *, one_shot: bool) -> tuple[str, Any]:
    """Stand in for what makes the reply to an error, and look where the error comes from.

    A request may fail with any exception of the standard library's, as at its own server. But it is raised
    on purpose, or by calling a method with arguments that it does not take; any other is a mistake of ours.
    """
    if not isinstance(err, _OUR_ERRORS):
        *_, (frame, line) = traceback.walk_tb(err.__traceback__)
        if not _is_meant(frame.f_code, line):
            raise Mistake(f"{err!r} at {frame.f_code.co_filename}:{line}, of a request") from err
    return failure(err, key, one_shot=one_shot)


@cache
def _is_meant(code: CodeType, line: int) -> bool:
    text = linecache.getline(code.co_filename, line).strip()
    return text.startswith("raise ") or code.co_name in _CALLERS


_CALLERS: Final = frozenset({"_start", "_create", "invoke", "_first_numbers"})
"""Functions that call methods, or array.array, with a request's arguments."""


def stock_requests(data: bytes) -> bytes:
    """Send requests to the server, as frames, each after the reply to the one before."""
    with patch("mpserve.dispatch.stock.failure", _failure), small_limits():
        return _send_requests(data)


def _send_requests(data: bytes) -> bytes:
    world, wire = World(), Wire()
    side = StockSide(world.dispatcher, wire, world.registered)
    requests, rest = cut_stock(data)
    answers = b""
    for request in requests:
        if wire.closing:
            break
        side.receive_data(len(request).to_bytes(4, "big") + request)
        side.drained()
        answers += wire.taken()
    side.receive_data(rest)
    _read_replies(answers + wire.taken())
    world.end(side)
    _read_replies(wire.taken())
    return answers


def _read_replies(data: bytes) -> None:
    reader = FrameReader(1 << 30)
    reader.receive_data(data)
    while (reply := reader.next_frame()) is not None:
        try:
            told = symbolic.load(reply)
        except MalformedPickle:
            continue  # a value that the client itself damaged, and gets back as it was
        assert type(told) is tuple, "a reply is a pair"
        assert told[0] in _KINDS, told[0]
    assert reader.idle, "a reply was sent in part"
