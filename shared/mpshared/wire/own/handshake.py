"""Our own handshake, both roles.

RULES
* The client never answers the stock challenge: a signature over whatever someone sends is what a relay is
  looking for.
* Each side proves itself over its role and over the whole of both messages before: nonces, range of
  versions, chosen version, and whatever later versions add. So nothing can be replayed, sent back to its
  author, or changed on the way.
* The client proves itself first; the client verifies the server before anything else, and so the other way
  round.
* The server may have several keys: it holds the client's proof against all of them, and proves itself with
  the one that the client has.
* Unknown keys in the two maps are ignored (but proved): that is how later versions say more.
* Over TLS both maps name the channel as their side sees it (`wire/tls.py`), without TLS neither does: where
  these differ somebody stands between, and each side refuses.
* The server chooses the highest version that both speak; where there is none it names both ranges.

      state       client                                        server
      CHALLENGE                                          <---   #CHALLENGE# …      (as in stock/server.py)
      ANSWER      #MPSERVE# {versions: [lo, hi], nonce}  --->
                                                         <---   #MPSERVE# {version, nonce}            PROOF
                                                              | #MPSERVE# {refused: text,
                                                                           versions: [lo, hi]}      REFUSED
      PROOF       HMAC(k, "client" hello answer)         --->
                                                         <---   HMAC(k, "server" hello answer)
                                                              | #FAILURE# reason                    REFUSED

Every message is one stock length frame; over TLS both maps have a `channel`, too. HMAC is HMAC-SHA256, k is
derived from the key (`auth.derive_key`), nonces have 32 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from reprlib import repr as shown
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

from mpshared.text import shorten
from mpshared.wire.auth import check_key, derive_key, find_same, prove, same
from mpshared.wire.errors import AuthenticationRefused, NotMpserve, NotTls, ProtocolError, VersionMismatch
from mpshared.wire.handshake import CHALLENGE, OWN, TLS_ONLY, ClientSide, Refused, ServerSide, read_failure
from mpshared.wire.own.pack import pack, unpack

__all__ = ["NONCE_BYTES", "VERSIONS", "Authenticated", "ClientHandshake", "ServerHandshake", "Versions"]

Versions: TypeAlias = tuple[int, int]
"""The lowest and the highest version that a side speaks."""

VERSIONS: Final[Versions] = (1, 1)
NONCE_BYTES: Final = 32
_CLIENT: Final = b"client"
_SERVER: Final = b"server"
_VERSION_MAX: Final = 0xFFFF
_RELAYED: Final = (
    "{} sees another certificate at the end of this connection, or none: somebody stands between the two, "
    "and could read everything; connect without a proxy that ends TLS"
)


class Authenticated(NamedTuple):
    """Both sides hold the key and speak this version."""

    version: int
    key: int = 0
    """Server: which of its keys the client has; 0 is `authkey`, then come the others."""


class _State(Enum):
    CHALLENGE = auto()  # client: the server speaks first
    ANSWER = auto()  # client: we have sent our hello
    PROOF = auto()  # both: the peer's proof is next
    AUTHENTICATED = auto()
    REFUSED = auto()


class ServerHandshake(ServerSide[Authenticated]):
    """Authenticate one connection whose peer has answered the stock challenge with a hello.

    Args:
        authkey: At least 16 bytes.
        others: More keys that let in.
        hello: The frame of `stock.server.OwnHello`.
        nonce: 32 fresh random bytes.
        versions: What this side speaks.
        channel: Name of the TLS channel; b"" without TLS.
    """

    _REFUSED = _State.REFUSED
    _KEYS_DIFFER = b"the keys differ"

    def __init__(
        self,
        authkey: bytes,
        hello: bytes,
        *,
        nonce: bytes,
        versions: Versions = VERSIONS,
        channel: bytes = b"",
        others: Sequence[bytes] = (),
    ) -> None:
        super().__init__(_State.PROOF)
        self._keys = [derive_key(check_key(key)) for key in (authkey, *others)]
        self._channel = channel
        self._hello = hello
        self._answer = b""
        self._version = 0
        self._verdict = self._read_hello(_check_nonce(nonce), versions)

    def next_event(self) -> Authenticated | Refused | None:
        """Return how the handshake ended, once; None before and after. Never raises for bytes."""
        verdict, self._verdict = self._verdict, None
        return verdict or super().next_event()

    def _read_hello(self, nonce: bytes, ours: Versions) -> Refused | None:
        try:
            hello = _map_in(self._hello, "hello")
            _nonce_in(hello, "hello")
            theirs = _versions_in(hello, "hello")
        except ProtocolError as err:
            return self._refuse(str(err), b"bad hello")
        if not same(_channel_in(hello), self._channel):
            return self._refuse(_RELAYED.format("the client"), b"other channel")
        version = min(ours[1], theirs[1])
        if version < max(ours[0], theirs[0]):
            return self._refuse_versions(ours, theirs)
        self._version = version
        self._answer = OWN + pack({"version": version, "nonce": nonce, **_named(self._channel)})
        self._send(self._answer)
        return None

    def _refuse_versions(self, ours: Versions, theirs: Versions) -> Refused:
        text = f"the server speaks versions {_spell(ours)} of the protocol, the client {_spell(theirs)}"
        self._state = _State.REFUSED
        self._send(OWN + pack({"refused": text, "versions": list(ours)}))
        return Refused(text)

    def _read_proof(self, frame: bytes) -> Authenticated:
        proofs = [prove(key, _CLIENT, self._hello, self._answer) for key in self._keys]
        which = find_same(proofs, frame)
        if which < 0:
            raise AuthenticationRefused("the client uses another key; give both sides the same one")
        self._state = _State.AUTHENTICATED
        self._send(prove(self._keys[which], _SERVER, self._hello, self._answer))
        return Authenticated(self._version, which)

    _STEPS: ClassVar = {_State.PROOF: _read_proof}


class ClientHandshake(ClientSide[Authenticated]):
    """Authenticate one connection that we have opened.

    Args:
        authkey: At least 16 bytes.
        nonce: 32 fresh random bytes.
        versions: What this side speaks.
        channel: Name of the TLS channel; b"" without TLS.

    `next_event` raises where the server is refused or refuses: `NotMpserve`, `VersionMismatch`,
    `AuthenticationRefused`, or another `ProtocolError`. Close then.
    """

    def __init__(
        self, authkey: bytes, *, nonce: bytes, versions: Versions = VERSIONS, channel: bytes = b""
    ) -> None:
        super().__init__(_State.CHALLENGE)
        self._key = derive_key(check_key(authkey))
        self._nonce = _check_nonce(nonce)
        self._versions = versions
        self._channel = channel
        self._hello = OWN + pack({"versions": list(versions), "nonce": nonce, **_named(channel)})
        self._answer = b""
        self._version = 0

    def _read_challenge(self, frame: bytes) -> None:
        if frame.startswith(TLS_ONLY):
            raise NotTls("the server speaks TLS there; say whom to trust with --tls-ca (MPSERVE_TLS_CA)")
        if not frame.startswith(CHALLENGE):
            msg = f"expected {CHALLENGE.decode()}, got {frame[:32]!r}; is this the address of your server?"
            raise NotMpserve("server's challenge", msg)
        self._state = _State.ANSWER
        self._send(self._hello)

    def _read_answer(self, frame: bytes) -> None:
        if (reason := read_failure(frame)) is not None:
            raise _failure_before_proof(reason)
        answer = _map_in(frame, "answer")
        if "refused" in answer:
            raise self._mismatch(answer)
        self._version = _version_in(answer, self._versions)
        if _nonce_in(answer, "answer") == self._nonce:
            msg = "the server's nonce is the one we sent: it only repeats us"
            raise ProtocolError("answer nonce", msg)
        if not same(_channel_in(answer), self._channel):
            raise AuthenticationRefused(_RELAYED.format("the server"))
        self._answer = frame
        self._state = _State.PROOF
        self._send(prove(self._key, _CLIENT, self._hello, frame))

    def _read_proof(self, frame: bytes) -> Authenticated:
        if same(frame, prove(self._key, _SERVER, self._hello, self._answer)):
            self._state = _State.AUTHENTICATED
            return Authenticated(self._version)
        reason = read_failure(frame)
        if reason is not None:
            raise AuthenticationRefused(
                f"the server refused us: {reason or 'no reason given'}; give both sides the same key"
            )
        raise AuthenticationRefused(
            "the server cannot prove that it holds our key; is this your server's address, has it this key?"
        )

    def _mismatch(self, answer: dict[str, Any]) -> VersionMismatch:
        theirs = _versions_in(answer, "answer")
        older = "this host" if self._versions[1] < theirs[0] else "the server"
        text = (
            f"no common version of the protocol: this client speaks {_spell(self._versions)}, the server "
            f"{_spell(theirs)} ({shorten(str(answer['refused']))}); upgrade mpserve on {older}"
        )
        return VersionMismatch(text, self._versions, theirs)

    _STEPS: ClassVar = {
        _State.CHALLENGE: _read_challenge,
        _State.ANSWER: _read_answer,
        _State.PROOF: _read_proof,
    }


def _failure_before_proof(reason: str) -> Exception:
    if reason == "other channel":
        return AuthenticationRefused(_RELAYED.format("the server"))
    if reason:
        return ProtocolError("hello", f"the server refused it: {reason}; do both sides have a sound mpserve?")
    msg = "it took our greeting for a wrong answer: a manager of the standard library, not an mpserve server"
    return NotMpserve("server's answer", msg)


def _named(channel: bytes) -> dict[str, bytes]:
    return {"channel": channel} if channel else {}


def _channel_in(found: dict[str, Any]) -> bytes:
    channel = found.get("channel", b"")
    return channel if type(channel) is bytes else b"?"


def _check_nonce(nonce: bytes) -> bytes:
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
    return nonce


def _map_in(frame: bytes, what: str) -> dict[str, Any]:
    if not frame.startswith(OWN):
        msg = f"expected {OWN.decode()}, got {frame[:32]!r}"
        raise ProtocolError(what, msg)
    found = unpack(frame[len(OWN) :])
    if type(found) is not dict:
        msg = f"expected a map, got {type(found).__name__}"
        raise ProtocolError(what, msg)
    return found


def _nonce_in(found: dict[str, Any], what: str) -> bytes:
    nonce = found.get("nonce")
    if type(nonce) is not bytes or len(nonce) != NONCE_BYTES:
        msg = f"expected {NONCE_BYTES} bytes, got {shown(nonce)}"
        raise ProtocolError(f"{what} nonce", msg)
    return nonce


def _versions_in(found: dict[str, Any], what: str) -> Versions:
    versions = found.get("versions")
    if type(versions) is list and [type(v) for v in versions] == [int, int]:
        low, high = versions
        if 0 <= low <= high <= _VERSION_MAX:
            return low, high
    msg = f"expected [lowest, highest], got {shown(versions)}"
    raise ProtocolError(f"{what} versions", msg)


def _version_in(found: dict[str, Any], ours: Versions) -> int:
    version = found.get("version")
    if type(version) is not int or not ours[0] <= version <= ours[1]:
        msg = f"expected one of {_spell(ours)}, got {shown(version)}"
        raise ProtocolError("answer version", msg)
    return version


def _spell(versions: Versions) -> str:
    return f"{versions[0]} to {versions[1]}"
