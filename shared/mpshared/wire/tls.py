"""TLS 1.3 as a machine: ciphertext in, plaintext out, and the other way round; both roles.

RULES
* No socket here: whoever drives it carries the bytes. So one machine serves the server's loop, a blocking
  client and asyncio.
* What is wrong with the peer is raised as `CertificateRefused` or `NotTls`, with what to do about it; after
  the handshake, as a `ProtocolError`. `data_to_send` may then still hold the alert that tells the peer why.
* The channel has a name that both ends know: the digest of the server's certificate. The key exchange within
  proves it, so that whoever stands between with another certificate is found out.
* Where there is no memory for what comes nothing of it is lost: the machine is `behind`, and whoever drives
  it fetches the rest in small pieces (`catch_up`).
* No session is resumed, and no ticket sent: an idle connection has nothing to read.

Source of the channel's name: RFC 5929, tls-server-end-point; always with SHA-256. (TLS 1.3 has no
tls-unique, and Python no tls-exporter.)
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from mpshared.text import shorten
from mpshared.wire.errors import (
    AuthenticationRefused,
    CertificateRefused,
    NotTls,
    ProtocolError,
    ServerBusy,
)
from mpshared.wire.framing import HEADER_BYTES
from mpshared.wire.handshake import CHALLENGE, TLS_ONLY, read_busy

__all__ = ["TlsMachine", "channel_of", "context_for"]

_RECORD_BYTES: Final = 16 << 10
"""Plaintext of one record at most: RFC 8446, section 5.1."""
_RECORD_TYPES: Final = frozenset({b"\x14", b"\x15", b"\x16"})
"""Of records that may come before keys are agreed upon."""
_PART_BYTES: Final = 256 << 10
"""So much is encrypted at once by those who send all of it: a large value is not doubled in memory."""
_CAUGHT_UP_BYTES: Final = 64 << 10
"""So much ciphertext is looked at at once where there is little memory."""
_SHOWN_BYTES: Final = 260
"""As much as a frame that says why there is no handshake."""
_EXPIRED: Final = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_OTHER_NAME: Final = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_ABOUT_CERTIFICATES: Final = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")
_NO_COMMON: Final = ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "HANDSHAKE_FAILURE", "NO_SHARED_CIPHER")


def context_for(*, server: bool) -> ssl.SSLContext:
    """Return a context without certificates: TLS 1.3 only, nothing resumed, and the peer verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if server:
        context.num_tickets = 0
    return context


def channel_of(certificate: bytes) -> bytes:
    """Return the name of the channels that end at this certificate (DER)."""
    return hashlib.sha256(certificate).digest()


class TlsMachine:
    """One connection's TLS.

    Args:
        context: As `context_for` makes it, with certificates.
        server: The role.
        host: For a client: the server's name or IP address, which must be in its certificate.
    """

    __slots__ = (
        "_first",
        "_incoming",
        "_late",
        "_outgoing",
        "_pieces",
        "_server",
        "_tls",
        "behind",
        "ended",
        "established",
    )

    def __init__(self, context: ssl.SSLContext, *, server: bool, host: str | None = None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._server = server
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server, host)
        self._first = b""
        """The first bytes that the peer sent, until the handshake is done."""
        self.established = False
        """The handshake is done."""
        self.ended = False
        """The peer has said that nothing follows."""
        self.behind = False
        """Something came for which there was no memory."""
        self._late: bytes | memoryview = b""
        """Ciphertext of that."""
        self._pieces: list[bytes] = []
        """Plaintext that was not given to anybody yet."""
        if not server:
            self._shake()

    def receive_data(self, data: bytes) -> bytes:
        """Take ciphertext as it came; return the plaintext that is whole, b"" for none yet.

        Raises:
            CertificateRefused, NotTls, ServerBusy: No handshake with this peer. See `data_to_send`.
            ProtocolError: It broke TLS later.
            MemoryError: There is none for it; see `catch_up`.
        """
        try:
            self._take_in(data)
        except MemoryError:
            self._late, self.behind = data, True
            raise
        if not self.established:
            if len(self._first) < _SHOWN_BYTES:
                self._first += data[:_SHOWN_BYTES]
            if not self._shake():
                return b""
        return self._read()

    def catch_up(self) -> bytes:
        """Return a little of what came when there was no memory for it; b"": that was all.

        Raises:
            As `receive_data`.
        """
        while not self._pieces:
            part = self._late[:_CAUGHT_UP_BYTES]
            self._take_in(part)
            self._late = memoryview(self._late)[len(part) :]
            self._decrypt()
            if not (self._late or self._pieces):
                self._late, self.behind = b"", False
                return b""
        return self._pieces.pop(0)

    def send(self, pieces: Sequence[bytes | memoryview]) -> bytes:
        """Return the ciphertext of these pieces, and of what waits to be sent before it."""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        size = len(data)
        written = self._tls.write(data) if size else 0
        if written < size:
            left = memoryview(data)
            while written < size:  # a record at a time
                written += self._tls.write(left[written:])
        return self._outgoing.read()

    def send_in_parts(self, pieces: Sequence[bytes | memoryview]) -> Iterator[bytes]:
        """Return the same as `send`, of large ones a part at a time."""
        for part in _parts(pieces):
            yield self.send(part)

    def data_to_send(self) -> bytes:
        """Return ciphertext that the machine itself has to send (handshake, alerts), once."""
        return self._outgoing.read()

    def close(self) -> bytes:
        """Return what tells the peer that nothing follows."""
        if self.established:
            with suppress(ssl.SSLError):  # it waits for the peer's own, which nobody does here
                self._tls.unwrap()
        return self._outgoing.read()

    @property
    def channel(self) -> bytes:
        """For a client: the channel's name; b"" before the handshake is done."""
        certificate = self._tls.getpeercert(binary_form=True) if self.established else None
        return channel_of(certificate) if certificate else b""

    @property
    def valid_until(self) -> str:
        """For a client, after the handshake: when the server's certificate expires, as `ssl` writes times."""
        return str((self._tls.getpeercert() or {})["notAfter"])

    @property
    def speaks_tls(self) -> bool:
        """Tell that what the peer sent looks like TLS."""
        return self.established or self._first[:1] in _RECORD_TYPES

    @property
    def was_late(self) -> bool:
        """For a client: tell that the server took it for one without TLS, because nothing came in time."""
        return TLS_ONLY in self._first

    # -- within ----------------------------------------------------------------------------------

    def _shake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as err:
            raise self._explained(err) from None
        self.established = True
        self._first = b""
        return True

    def _take_in(self, data: bytes | memoryview) -> None:
        try:
            self._incoming.write(data)
        except ssl.SSLError:  # as it calls that
            raise MemoryError from None

    def _read(self) -> bytes:
        pieces = self._pieces
        try:
            self._decrypt()
            plain = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        except MemoryError:
            self.behind = True
            raise
        pieces.clear()
        return plain

    def _decrypt(self) -> None:
        tls, incoming, pieces = self._tls, self._incoming, self._pieces
        try:
            while incoming.pending or tls.pending():
                piece = tls.read(_RECORD_BYTES)
                if not piece:
                    self.ended = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as err:
            raise self._explained(err) from None

    # -- what is wrong ---------------------------------------------------------------------------

    def _explained(self, err: ssl.SSLError) -> AuthenticationRefused | ProtocolError:
        reason = err.reason or str(err)
        if isinstance(err, ssl.SSLCertVerificationError):
            return CertificateRefused(self._unaccepted(err.verify_code, err.verify_message))
        if "PEER_DID_NOT_RETURN_A_CERTIFICATE" in reason:
            return CertificateRefused(
                "it has no certificate; start it with --tls-cert and --tls-key (MPSERVE_TLS_CERT, "
                "MPSERVE_TLS_KEY), or this server without --tls-ca to let in whoever has the key"
            )
        if "ALERT" in reason and any(about in reason for about in _ABOUT_CERTIFICATES):
            return CertificateRefused(self._rejected(reason))
        if not self.established and self.speaks_tls and any(word in reason for word in _NO_COMMON):
            return NotTls(
                f"the two sides have no TLS 1.3 in common ({_plain(reason)}); older ones are not used"
            )
        if self.speaks_tls:
            return ProtocolError("TLS", _plain(reason))
        busy = None if self._server else read_busy(self._first[HEADER_BYTES:])
        return NotTls(self._without()) if busy is None else ServerBusy(busy)

    def _unaccepted(self, code: int, message: str) -> str:
        """Tell why we do not accept the peer's certificate."""
        whose = "its" if self._server else "the server's"
        todo = "is it from the CA that --tls-ca (MPSERVE_TLS_CA) names?"
        if code in _EXPIRED:
            todo = "make a new one: mpserve tls init"
        elif code in _OTHER_NAME:
            todo = "dial it by a name in the certificate, or make one with this name: mpserve tls init --host"
        return f"{whose} certificate is not accepted: {shorten(message)}; {todo}"

    def _rejected(self, reason: str) -> str:
        """Tell why the peer does not accept our certificate."""
        why = _plain(reason.partition("ALERT_")[2] or reason)
        if self._server:
            return f"it does not accept this server's certificate ({why}); see its own message"
        if "CERTIFICATE_REQUIRED" in reason:
            return (
                "the server wants a certificate from its clients; give one with --tls-cert and --tls-key "
                "(MPSERVE_TLS_CERT, MPSERVE_TLS_KEY)"
            )
        return (
            f"the server does not accept this side's certificate ({why}); is the one of --tls-cert "
            "(MPSERVE_TLS_CERT) still valid, and from the CA that the server was given?"
        )

    def _without(self) -> str:
        """Tell that the peer does not speak TLS."""
        if self._server:
            return (
                f"it does not speak TLS ({self._first[:16]!r}); give it --tls-ca (MPSERVE_TLS_CA), or let it "
                "connect where --plain has this server listen"
            )
        if CHALLENGE in self._first:
            return (
                "the server does not speak TLS; start it with --tls-cert and --tls-key, or leave out "
                "--tls-ca here (unset MPSERVE_TLS_CA)"
            )
        return f"what answers does not speak TLS ({self._first[:16]!r}); is this your server's address?"


def _plain(reason: str) -> str:
    return shorten(reason.lower().replace("_", " "))


def _parts(pieces: Sequence[bytes | memoryview]) -> Iterator[list[bytes | memoryview]]:
    """Cut pieces into groups of `_PART_BYTES` at most."""
    part: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        if size + len(piece) <= _PART_BYTES:
            part.append(piece)
            size += len(piece)
            continue
        left = memoryview(piece).cast("B")
        while left:
            room = _PART_BYTES - size
            part.append(left[:room])
            left = left[room:]
            size = sum(map(len, part))
            if size == _PART_BYTES:
                yield part
                part, size = [], 0
    if part:
        yield part
