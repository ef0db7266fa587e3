"""One authenticated connection: a blocking socket with the wire on both ends of it.

RULES
* A connection belongs to one thread at a time; there is no lock here.
* Every way in which the network can fail becomes `Lost`; what the server refuses becomes one of
  `mpshared.errors`.
* After any exception the stream is in an unknown place: close the connection and open another.
* What a signal handler raises meanwhile is not the network's, even if it is an OSError: an alarm's way out is
  usually TimeoutError. It goes to the caller as it is.
* Blocking without a timeout: TCP's keepalive and TCP_USER_TIMEOUT find a host that vanished.

Cost of a call: one pack, one sendall, one recv.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from mpclient.transport.awake import RECV_BYTES, Sleep, can_look, poll_at, receive, share_one_processor
from mpshared.address import UNIX_SEND_BYTES, Address
from mpshared.errors import MpserveError, NotAllowed, ProtocolViolation, make
from mpshared.spinning import SPIN_MAX_S, Spin, can_spin
from mpshared.wire.errors import (
    AuthenticationRefused,
    CertificateRefused,
    NotTls,
    ProtocolError,
    ServerBusy,
    VersionMismatch,
    WeakKey,
)
from mpshared.wire.own.frames import SIZE_MAX_BYTES, Control, Event, Failed, Type, encode_control
from mpshared.wire.own.handshake import NONCE_BYTES, ClientHandshake
from mpshared.wire.own.replies import ReplyDecoder

if TYPE_CHECKING:
    from mpshared.tls import ClientTls
    from mpshared.wire.tls import TlsMachine

__all__ = [
    "HANDSHAKE_S",
    "Busy",
    "Connection",
    "Goodbye",
    "Lost",
    "NoFiles",
    "Refusing",
    "check_attached",
    "close_inherited",
    "dial",
    "let_pass",
    "no_server",
]

_HEAD_MAX_BYTES: Final = 1 << 30  # keys() of a large dict is one head; the server has proved that it is ours
_IOVECS_MAX: Final = 1000  # Linux takes 1024
HANDSHAKE_S: Final = 10.0
_OURS: Final = frozenset({__name__, "mpclient.transport.awake", "mpclient.transport.tls", socket.__name__})
"""Where the network's own errors come from."""
_CLOSED: Final = "the server closed the connection"
_NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 30_000}
"""Seconds (the last: milliseconds) by which a vanished host is noticed. What a system lacks is left out."""

_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
"""Every socket there is, also those that a thread is still connecting: a fork must not keep any of them."""


class Lost(ConnectionError):
    """The connection broke, or could not be made. Whether the server lives is another question."""

    def alone(self) -> Self:
        """Return it without where it comes from, for who keeps it while trying again.

        Else it keeps the frames that it went through alive, and one of these keeps it: sockets then wait for
        the garbage collector.
        """
        self.__traceback__ = self.__context__ = None
        return self


class Refusing(Lost):
    """Nobody listens at the address: the connection was refused, or the socket's file is not there."""


class Busy(Lost):
    """The server takes nobody more, now; the text says why. It may be otherwise later."""


class NoFiles(Busy):
    """This process has as many files open as it may."""


class Goodbye(Lost):
    """The server said that it closes the connection.

    Attributes: `reason` is "gone", "restarting" or "bye".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the server said goodbye ({reason})")
        self.reason = reason


def dial(address: Address, key: bytes, timeout_s: float, tls: ClientTls | None = None) -> Connection:
    """Connect and authenticate.

    Raises:
        Lost: The server cannot be reached within `timeout_s`, takes nobody more (`Busy`), or this process has
            as many files open as it may (`NoFiles`).
        NotAllowed: The keys differ, or one side does not accept the other's certificate.
        ProtocolViolation: What answered is not an mpserve server, or one of another version, or only one side
            speaks TLS.
    """
    limit_s = max(0.05, min(timeout_s, HANDSHAKE_S))
    try:
        sock = _connect(address, limit_s)
    except OSError as err:
        let_pass(err)
        if isinstance(err, ConnectionRefusedError | FileNotFoundError):
            raise Refusing(f"nobody listens at {address} ({err.strerror})") from None
        if err.errno in _NO_FILES:
            raise NoFiles(f"there is no file left for a connection ({err.strerror}; ulimit -n)") from None
        raise Lost(f"{address} cannot be reached ({err})") from None
    try:
        machine = None if tls is None else tls.machine(address)
        rest = _authenticate(sock, address, key, limit_s, machine)
        sock.settimeout(None)
    except BaseException as err:
        sock.close()
        if isinstance(err, OSError) and not isinstance(err, MpserveError | Busy):
            let_pass(err)
            raise Lost(f"the connection to {address} broke before it was authenticated ({err})") from None
        raise
    if machine is None:
        return Connection(sock, rest)
    from mpclient.transport.tls import TlsConnection  # noqa: PLC0415 - who speaks no TLS does without

    return TlsConnection(sock, rest, machine)


def close_inherited() -> None:
    """Close every connection of this process without a word on it: it is a fork, they are its parent's."""
    for sock in list(_sockets):
        sock.close()
    _sockets.clear()


def _connect(address: Address, timeout_s: float) -> socket.socket:
    if sys.platform != "win32" and address.is_unix:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        _sockets.add(sock)
        try:
            sock.settimeout(timeout_s)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNIX_SEND_BYTES)
            sock.connect(address.path)
        except BaseException:
            sock.close()
            raise
        return sock
    # as bytes: text is encoded by a codec whose modules take 4 ms to load, in every process
    host: Any = address.host.encode() if address.host.isascii() else address.host
    sock = socket.create_connection((host, address.port), timeout_s)
    _sockets.add(sock)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return sock


def _authenticate(
    sock: socket.socket, address: Address, key: bytes, limit_s: float, machine: TlsMachine | None
) -> bytes:
    """Go through the handshake, within that of TLS if there is one; return what came behind it."""
    deadline_s = time.monotonic() + limit_s
    try:
        early = b"" if machine is None else _shake(sock, machine, deadline_s)
        channel = b"" if machine is None else machine.channel
        handshake = ClientHandshake(key, nonce=os.urandom(NONCE_BYTES), channel=channel)
        handshake.receive_data(early)
        while handshake.next_event() is None:
            if data := handshake.data_to_send():
                sock.sendall(data if machine is None else machine.send([data]))
            else:
                data = _recv_until(sock, deadline_s)
                handshake.receive_data(data if machine is None else machine.receive_data(data))
    except CertificateRefused as err:
        raise NotAllowed(f"{address}: {err}", reason="certificate") from None
    except NotTls as err:
        raise ProtocolViolation(f"{address}: {err}", reason="tls") from None
    except AuthenticationRefused as err:
        raise NotAllowed(f"{address}: {err}", reason="key") from None
    except WeakKey as err:
        raise NotAllowed(f"no connection to {address}: {err}", reason="key") from None
    except ServerBusy as err:
        raise Busy(f"the server at {address} takes nobody more now: {err}") from None
    except (VersionMismatch, ProtocolError) as err:
        raise ProtocolViolation(f"{address}: {err}", reason="version") from None
    return handshake.trailing_data()


def _shake(sock: socket.socket, machine: TlsMachine, deadline_s: float) -> bytes:
    from mpclient.transport.tls import shake  # noqa: PLC0415 - who speaks no TLS does without

    return shake(sock, machine, deadline_s)


def _recv_until(sock: socket.socket, deadline_s: float) -> bytes:
    sock.settimeout(max(0.01, deadline_s - time.monotonic()))
    data = sock.recv(RECV_BYTES)
    if not data:
        raise ConnectionResetError("closed by the server")
    return data


class Connection:
    """Frames over one socket."""

    __slots__ = (
        "_decoder",
        "_early",
        "_sleep",
        "_sleep_parked",
        "_sock",
        "_spin",
        "_spin_parked",
        "output_sent",
    )

    def __init__(self, sock: socket.socket, received: bytes = b"") -> None:
        self._sock = sock
        self._decoder = ReplyDecoder(SIZE_MAX_BYTES, _HEAD_MAX_BYTES)
        self._early: list[Event] = []
        """What came before the answer to ATTACH, in order."""
        self._spin = self._spin_parked = Spin(0.0)
        """For calls that are answered at once, and for those that wait for other clients."""
        self._sleep: Sleep | None = None
        self._sleep_parked: Sleep | None = None
        """What sleeps where `recv` should not; see `awake`."""
        self.output_sent = 0
        """The number of the last OUTPUT frame that was sent here; see `outgoing`."""
        if received:
            self._decoder.receive_data(received)

    # -- frames ----------------------------------------------------------------------------------

    def send(self, pieces: Sequence[bytes]) -> None:
        """Write the pieces of a frame in order; returns when the system has all of them.

        Raises:
            Lost: The connection broke.
        """
        try:
            if len(pieces) == 1:
                self._sock.sendall(pieces[0])
            else:
                _send_vectored(self._sock, pieces)
        except OSError as err:
            let_pass(err)
            raise Lost(f"the connection broke while sending ({err})") from None

    def ask(self, pieces: Sequence[bytes], may_park: bool = False) -> Event:
        """Write a frame and return the next one that comes, waiting for it; see `send` and `next_event`.

        Nearly every answer is one small frame that one read brings whole: its way is short. `may_park` says
        that the call may have to wait for other clients.
        """
        if len(pieces) > 1 or self._early or self._decoder.wants:
            self.send(pieces)
            return self.next_event()
        sock = self._sock
        try:
            sock.sendall(pieces[0])
            if may_park:
                data = receive(sock, self._spin_parked, self._sleep_parked)
            else:
                data = receive(sock, self._spin, self._sleep)
        except OSError as err:
            let_pass(err)
            raise Lost(f"the connection broke ({err})") from None
        if not data:
            raise Lost(_CLOSED)
        return self._decoder.take_reply(data) or self.next_event()

    def next_event(self) -> Event:
        """Return the next frame, waiting for it as long as it takes.

        Raises:
            Lost: The connection broke or was closed; `Goodbye` if the server said so.
            ProtocolViolation: The server sent what no server of ours sends.
        """
        if self._early:
            return self._early.pop(0)
        while (event := self._decode()) is None:
            wants = self._decoder.wants
            if wants:
                self._fill(wants)
            else:
                self._receive()
        return event

    def events(self) -> list[Event]:
        """Read once, which must not need waiting, and return the frames that are whole; see `next_event`."""
        self._receive()
        return self.unheard()

    def unheard(self) -> list[Event]:
        """Return the frames that came together with the answer to ATTACH, or before it."""
        events, self._early = self._early, []
        while (event := self._decode()) is not None:
            events.append(event)
        return events

    def _receive(self) -> None:
        self._decoder.receive_data(self._read(RECV_BYTES))

    def _read(self, size: int, flags: int = 0) -> bytes:
        """Return what comes next on the socket, as it comes, or as the flags say."""
        try:
            if self._sleep is not None:
                self._sleep()
            data = self._sock.recv(size, flags)
        except OSError as err:
            let_pass(err)
            raise Lost(f"the connection broke ({err})") from None
        if not data:
            raise Lost(_CLOSED)
        return data

    def _fill(self, size: int) -> None:
        """Read so much of a large frame, or the head of what may be the next one; less if the end comes."""
        self._decoder.receive_data(self._read(size, socket.MSG_WAITALL))

    def _decode(self) -> Event | None:
        try:
            event = self._decoder.next_event()
        except ProtocolError as err:
            raise ProtocolViolation(f"the server's answer makes no sense: {err}") from None
        if type(event) is Control and event.type is Type.GOODBYE:
            raise Goodbye(event.body)
        return event

    def attach(
        self, body: dict[str, Any], timeout_s: float = HANDSHAKE_S, *, late: bool = False
    ) -> dict[str, Any]:
        """Say which session and lane this connection is for; return what the server says of them.

        Args:
            body: That.
            timeout_s: How long to wait for it.
            late: Answers wait for the server's disk.

        Raises:
            MpserveError: The server refused. The connection is closed.
            Lost: It broke, or no answer came in time. It is closed.
        """
        try:
            return self._attach(body, timeout_s, late=late)
        except BaseException:
            self.close()
            raise

    def _attach(self, body: dict[str, Any], timeout_s: float, *, late: bool) -> dict[str, Any]:
        self._sock.settimeout(timeout_s)
        self.send(encode_control(Type.ATTACH, body=body))
        early: list[Event] = []
        while not isinstance(event := self.next_event(), Control) or event.type is not Type.ATTACHED:
            if isinstance(event, Failed) and event.number == 0:
                raise make(event.code, event.text, event.fields)
            early.append(event)  # the answer of a call that waited for the lane to come back
        self._early = early
        self._sock.settimeout(None)
        answer = check_attached(event.body)
        if can_look(self._sock):
            spin_s = min(SPIN_MAX_S, answer.get("spin_s", 0.0)) if can_spin() else 0.0
            self._spin, self._spin_parked = Spin(spin_s), Spin(spin_s)
            poll = poll_at(self._sock)
            self._sleep = poll if late or share_one_processor(self._sock) else None
            self._sleep_parked = poll if spin_s else self._sleep
        return answer

    def hand_over(self) -> tuple[socket.socket, ReplyDecoder, list[Event], TlsMachine | None]:
        """Give the socket, what cuts its bytes into frames, early frames, and TLS to a reader of its own."""
        self._sock.setblocking(False)
        events, self._early = self._early, []
        return self._sock, self._decoder, events, None

    def shortcut(self, offered: Any) -> Address | None:
        """Return the Unix socket that the server offered in its answer to ATTACH, if it is of this machine.

        It is where this connection's other end is the address at which the server says that it was dialled:
        nobody forwards it. (Another machine, or network namespace, may reach the server so, too; there nobody
        listens.) Only Linux has such sockets.
        """
        if sys.platform != "linux":
            return None
        match offered:
            case [str() as name, str() as host, int() as port]:
                try:
                    direct = self._sock.getpeername()[:2] == (host, port)
                except OSError:
                    return None
                return Address(path=f"\0{name}") if direct else None
            case _:
                return None

    # -- its end ---------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Return the socket's descriptor, for poll."""
        return self._sock.fileno()

    def is_dead(self) -> bool:
        """Tell, without waiting, whether an idle connection is at its end.

        Nobody asked anything, so all that can be there to read is a goodbye or the end of the stream.
        """
        timeout_s = self._sock.gettimeout()
        try:
            self._sock.setblocking(False)  # Windows has no MSG_DONTWAIT
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            self._sock.settimeout(timeout_s)
            return False
        except OSError:
            return True
        return True

    def limit(self, timeout_s: float) -> None:
        """Have what is sent from now on break the connection if it takes longer: nobody may read it."""
        with suppress(OSError):  # it is closed: who sends hears that
            self._sock.settimeout(timeout_s)

    def interrupt(self) -> None:
        """End the connection for a thread that waits on it: it gets `Lost`."""
        with suppress(OSError):  # it is closed already
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this process's end. After a fork that leaves the other process's end alone."""
        self._sock.close()


_ATTACHED: Final[dict[str, frozenset[type]]] = {
    **dict.fromkeys(("session", "secret", "server", "epoch", "advertise"), frozenset({str})),
    "last": frozenset({int}),
    "limits": frozenset({dict}),
    "session_timeout_s": frozenset({int, float}),
    "spin_s": frozenset({int, float}),
}
"""What an answer to ATTACH may say, as far as the client does something with it."""


def check_attached(body: dict[str, Any]) -> dict[str, Any]:
    """Return an answer to ATTACH, whose parts are what they have to be where they are there.

    Raises:
        ProtocolViolation: No server of ours says that.
    """
    for name, kinds in _ATTACHED.items():
        if name in body and type(body[name]) not in kinds:
            raise no_server(f"its greeting has {body[name]!r:.60} for {name}")
    return body


def no_server(why: str) -> ProtocolViolation:
    """Return what is raised where an answer to ATTACH is none."""
    return ProtocolViolation(f"what greets there has our key and is no server of mpserve: {why}")


def let_pass(err: OSError) -> None:
    """Raise `err` again if a signal handler raised it: the handler's frame is then the innermost one."""
    trace = err.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None and trace.tb_frame.f_globals.get("__name__") not in _OURS:
        raise err


def _send_vectored(sock: socket.socket, pieces: Sequence[bytes]) -> None:
    """Write pieces without joining them."""
    views = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
    if not hasattr(sock, "sendmsg"):  # Windows
        for view in views:
            sock.sendall(view)
        return
    while views:
        sent = sock.sendmsg(views[:_IOVECS_MAX])
        done = 0
        while done < len(views) and sent >= len(views[done]):
            sent -= len(views[done])
            done += 1
        del views[:done]
        if sent:
            views[0] = views[0][sent:]
