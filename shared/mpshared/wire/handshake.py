"""What all handshakes have in common: small frames, one step for each, and a way out.

RULES
* A frame has at most 256 bytes, as in the standard library. Until the peer has proved itself it may send 1
  KiB in all: an honest one sends a frame and waits.
* One frame moves the machine by one step, looked up in `_STEPS` by the state it is in. A state without a
  step is an end.
* A client raises what is wrong. A server never raises for bytes: it says `#FAILURE#` and gives a `Refused`.
* When it is over, `trailing_data` is what the peer has sent behind its last frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Generic, NamedTuple, TypeVar

from mpshared.text import shorten
from mpshared.wire.errors import AuthenticationRefused, ProtocolError, ServerBusy, VersionMismatch
from mpshared.wire.framing import FrameReader, join_frame

__all__ = [
    "BUSY",
    "CHALLENGE",
    "FAILURE",
    "OWN",
    "TLS_ONLY",
    "TLS_ONLY_FRAME",
    "WELCOME",
    "ClientSide",
    "Handshake",
    "Refused",
    "ServerSide",
    "busy_frame",
    "read_busy",
    "read_failure",
]

CHALLENGE: Final = b"#CHALLENGE#"
WELCOME: Final = b"#WELCOME#"
FAILURE: Final = b"#FAILURE#"
OWN: Final = b"#MPSERVE#"
BUSY: Final = b"#BUSY#"
"""Instead of any frame of the server's: it lets nobody in now, for the reason that follows. The standard
library's clients show it to their users where they expect a challenge."""
TLS_ONLY: Final = b"#TLS#"
TLS_ONLY_FRAME: Final = join_frame(
    TLS_ONLY
    + b" this port speaks TLS: give the client --tls-ca (MPSERVE_TLS_CA). Managers of the standard library "
    b"cannot speak it; the server listens for them with --plain 127.0.0.1:PORT or --plain unix:/path"
)
"""What a client without TLS is told where TLS is spoken, in a frame that all of them can read; the standard
library's show it to their users."""
_TLS_HELLO: Final = b"\x16\x03"
"""The beginning of every TLS client's first record: a handshake, version 3.something."""

_HERE_IS_NO_TLS: Final = (
    "it speaks TLS, and this port does not; start the server with --tls-cert and --tls-key, or the client "
    "without --tls-ca (MPSERVE_TLS_CA)"
)

_FRAME_MAX_BYTES: Final = 256
_UNPROVEN_MAX_BYTES: Final = 1024

EventT = TypeVar("EventT")


class Refused(NamedTuple):
    """The peer was refused: send `data_to_send`, then close. The reason, for the log, may quote the peer."""

    reason: str


class Handshake(Generic[EventT]):
    """One role of one handshake."""

    _STEPS: ClassVar[Mapping[Any, Callable[[Any, bytes], Any]]]

    def __init__(self, state: object) -> None:
        self._state = state
        self._proven = False
        self._received_bytes = 0
        self._reader = FrameReader(_FRAME_MAX_BYTES)
        self._outbox: list[bytes] = []

    def receive_data(self, data: bytes) -> None:
        """Take bytes in the order in which they came, in pieces of any size."""
        self._received_bytes += len(data)
        self._reader.receive_data(data)

    def data_to_send(self) -> bytes:
        """Return what is to be sent now, once; b"" when there is nothing."""
        data = b"".join(self._outbox)
        self._outbox.clear()
        return data

    def trailing_data(self) -> bytes:
        """Return what came behind the last frame of the handshake: the first bytes for whoever reads on."""
        return self._reader.unread()

    def _advance(self) -> EventT | None:
        """Take all steps for which there are frames, up to the first event."""
        while (step := self._STEPS.get(self._state)) is not None:
            frame = self._next_frame()
            if frame is None:
                return None
            event: EventT | None = step(self, frame)
            if event is not None:
                return event
        return None

    def _send(self, payload: bytes) -> None:
        self._outbox.append(join_frame(payload))

    def _next_frame(self) -> bytes | None:
        if not self._proven and self._received_bytes > _UNPROVEN_MAX_BYTES:
            msg = f"{self._received_bytes} bytes before authentication, {_UNPROVEN_MAX_BYTES} are allowed"
            raise ProtocolError("handshake", msg)
        return self._reader.next_frame()


def busy_frame(text: str) -> bytes:
    """Return what a peer is told that is turned away; the text is cut to what a frame of a handshake
    takes.
    """
    return join_frame((BUSY + b" " + text.encode())[:_FRAME_MAX_BYTES])


def read_busy(frame: bytes) -> str | None:
    """Return why the server turns us away, made printable; None for any other frame."""
    if not frame.startswith(BUSY):
        return None
    return shorten(frame[len(BUSY) :].decode("utf-8", "replace").strip(), _FRAME_MAX_BYTES)


class ClientSide(Handshake[EventT]):
    """A handshake that raises what is wrong with the server, and goes on raising it."""

    _failure: Exception | None = None

    def next_event(self) -> EventT | None:
        """Return how the handshake ended, once; None before and after.

        Raises:
            AuthenticationRefused: One side does not accept the other's proof.
            ServerBusy: The server takes nobody more, now.
            VersionMismatch: No version that both speak.
            ProtocolError: The server breaks the protocol.
        """
        if self._failure is not None:
            raise self._failure
        try:
            return self._advance()
        except (AuthenticationRefused, ProtocolError, VersionMismatch) as err:
            self._failure = err
            raise

    def _next_frame(self) -> bytes | None:
        frame = super()._next_frame()
        if frame is not None and (reason := read_busy(frame)) is not None:
            raise ServerBusy(reason)
        return frame


class ServerSide(Handshake[EventT | Refused]):
    """A handshake that turns every fault of the peer into one `Refused`."""

    _REFUSED: ClassVar[object]
    _KEYS_DIFFER: ClassVar[bytes] = b""
    """What a peer with another key is told; a stock one understands nothing."""
    _speaks_tls = False

    def receive_data(self, data: bytes) -> None:
        """Take bytes in the order in which they came; what a refused peer still sends is dropped."""
        if self._state is not self._REFUSED:
            if not self._received_bytes:
                self._speaks_tls = data.startswith(_TLS_HELLO)
            super().receive_data(data)

    def next_event(self) -> EventT | Refused | None:
        """Return how the handshake ended, once; None before and after. Never raises for bytes."""
        try:
            return self._advance()
        except AuthenticationRefused as err:
            return self._refuse(str(err), self._KEYS_DIFFER)
        except ProtocolError as err:
            return self._refuse(_HERE_IS_NO_TLS if self._speaks_tls else str(err))

    def _refuse(self, reason: str, told: bytes = b"") -> Refused:
        """End with a failure; `told` is what the peer learns of the reason."""
        self._state = self._REFUSED
        self._send(FAILURE + told)
        return Refused(reason)


def read_failure(frame: bytes) -> str | None:
    """Return the reason in a `#FAILURE#`, made printable ("" for none); None for any other frame."""
    if not frame.startswith(FAILURE):
        return None
    return shorten(frame[len(FAILURE) :].decode("utf-8", "replace"))
