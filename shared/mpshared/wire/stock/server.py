"""The standard library's handshake, as its server. Every connection to us begins here.

RULES
* We sign nothing before the peer has proved that it holds the key: an unproven peer cannot use us as an
  oracle.
* MD5, which clients of Python 3.11 and earlier need, only with permission: neither accepted nor given
  without it.
* Where there are several keys, the peer's answer is held against all of them; ours is made with the one that
  it has proved.
* A refused peer gets `#FAILURE#` and nothing else. (The standard library would send it a traceback.)

      state        we                                     client
      ANSWER       #CHALLENGE# {sha256} 40 bytes   --->
                                                   <---   its answer
                                                        | #MPSERVE# …      → OwnHello: go on with own/
      CHALLENGE    #WELCOME# (or #FAILURE#)        --->
                                                   <---   #CHALLENGE# 20 bytes (up to 3.11)
                                                        | #CHALLENGE# {digest} 40 bytes
      WELCOME      our answer                      --->
                                                   <---   #WELCOME#        → Authenticated
                                                          (its first request may be in the same segment)

Source: CPython `Lib/multiprocessing/connection.py`, `Listener.accept`, `deliver_challenge`,
`answer_challenge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import ClassVar, Final, NamedTuple, TypeAlias

from mpshared.wire.auth import answer_challenge, check_key, match_answer
from mpshared.wire.errors import AuthenticationRefused, ProtocolError
from mpshared.wire.handshake import CHALLENGE, FAILURE, OWN, WELCOME, Refused, ServerSide

__all__ = ["NONCE_BYTES", "Authenticated", "Event", "OwnHello", "Refused", "ServerHandshake"]

NONCE_BYTES: Final = 40
"""As Python 3.12 and later send. Never 20: that length asks modern clients for MD5."""


class Authenticated(NamedTuple):
    """Both sides hold the key. `digest` is the one with which the peer proved it: "sha256", …, "md5"."""

    digest: str
    key: int = 0
    """Which of the keys it is: 0 is `authkey`, then come the others."""


class OwnHello(NamedTuple):
    """The peer speaks our own protocol: give this frame to `own.handshake.ServerHandshake`."""

    hello: bytes


Event: TypeAlias = Authenticated | OwnHello


class _State(Enum):
    ANSWER = auto()  # we have challenged the peer
    CHALLENGE = auto()  # it has proved itself and may challenge us
    WELCOME = auto()  # we have answered
    AUTHENTICATED = auto()
    OWN = auto()  # the peer chose our own protocol
    REFUSED = auto()


class ServerHandshake(ServerSide[Event]):
    """Authenticate one connection.

    Args:
        authkey: At least 16 bytes.
        md5_allowed: Admit clients of Python 3.11 and earlier.
        nonce: 40 fresh random bytes.
        others: More keys that let in.

    Raises:
        WeakKey, TypeError: The key cannot be used.
    """

    _REFUSED = _State.REFUSED

    def __init__(
        self, authkey: bytes, *, md5_allowed: bool, nonce: bytes, others: Sequence[bytes] = ()
    ) -> None:
        super().__init__(_State.ANSWER)
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"the nonce of a challenge has {NONCE_BYTES} bytes, not {len(nonce)}")
        self._authkeys = [check_key(key) for key in (authkey, *others)]
        self._which = 0
        self._md5_allowed = md5_allowed
        self._challenge = b"{sha256}" + nonce
        self._digest = ""
        self._send(CHALLENGE + self._challenge)

    def _read_answer(self, frame: bytes) -> OwnHello | None:
        if frame.startswith(OWN):
            self._state = _State.OWN
            return OwnHello(frame)
        self._digest, self._which = match_answer(
            self._authkeys, self._challenge, frame, md5_allowed=self._md5_allowed
        )
        self._proven = True
        self._state = _State.CHALLENGE
        self._send(WELCOME)
        return None

    def _read_challenge(self, frame: bytes) -> None:
        if not frame.startswith(CHALLENGE):
            msg = f"expected {CHALLENGE.decode()}, got {frame[:32]!r}"
            raise ProtocolError("client's challenge", msg)
        authkey = self._authkeys[self._which]
        self._send(answer_challenge(authkey, frame[len(CHALLENGE) :], md5_allowed=self._md5_allowed))
        self._state = _State.WELCOME

    def _read_welcome(self, frame: bytes) -> Authenticated:
        if frame == FAILURE:
            raise AuthenticationRefused("the client did not accept our answer to its challenge")
        if frame != WELCOME:
            msg = f"expected {WELCOME.decode()}, got {frame[:32]!r}"
            raise ProtocolError("client's welcome", msg)
        self._state = _State.AUTHENTICATED
        return Authenticated(self._digest, self._which)

    _STEPS: ClassVar = {
        _State.ANSWER: _read_answer,
        _State.CHALLENGE: _read_challenge,
        _State.WELCOME: _read_welcome,
    }
