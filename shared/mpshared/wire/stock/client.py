"""The standard library's handshake, as its client.

RULES
* It speaks to any `multiprocessing.connection.Listener(authkey=…)`; with Python 3.11 and earlier only when
  MD5 is allowed.
* It signs the challenge of whoever it has dialled, as the protocol asks: that is why our own clients do not
  use it.

      state        server                                 we
      CHALLENGE    #CHALLENGE# M                   --->
      VERDICT                                      <---   answer(M)
                   #WELCOME# (or #FAILURE#)        --->
      ANSWER                                       <---   #CHALLENGE# N
                   answer(N)                       --->
                                                   <---   #WELCOME#           → Authenticated

N is `{sha256}` and 40 bytes, or 20 bytes where the server's own challenge had 20: it knows nothing but MD5
then.

Source: CPython `Lib/multiprocessing/connection.py`, `Client`, `answer_challenge`, `deliver_challenge`.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import ClassVar, Final

from mpshared.wire.auth import answer_challenge, check_answer, check_key
from mpshared.wire.errors import AuthenticationRefused, ProtocolError
from mpshared.wire.handshake import CHALLENGE, FAILURE, WELCOME, ClientSide
from mpshared.wire.stock.server import NONCE_BYTES, Authenticated

__all__ = ["Authenticated", "ClientHandshake"]

_LEGACY_BYTES: Final = 20


class _State(Enum):
    CHALLENGE = auto()  # the server speaks first
    VERDICT = auto()  # we have answered it
    ANSWER = auto()  # it accepted us, we have challenged it
    AUTHENTICATED = auto()


class ClientHandshake(ClientSide[Authenticated]):
    """Authenticate one connection that we have opened.

    Args:
        authkey: At least 16 bytes.
        md5_allowed: Accept servers of Python 3.11 and earlier.
        nonce: 40 fresh random bytes.

    `next_event` raises ProtocolError or AuthenticationRefused where the server is refused or refuses; close
    then, after sending `data_to_send`.
    """

    def __init__(self, authkey: bytes, *, md5_allowed: bool, nonce: bytes) -> None:
        super().__init__(_State.CHALLENGE)
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"the nonce of a challenge has {NONCE_BYTES} bytes, not {len(nonce)}")
        self._authkey = check_key(authkey)
        self._md5_allowed = md5_allowed
        self._challenge = b"{sha256}" + nonce

    def _read_challenge(self, frame: bytes) -> None:
        if not frame.startswith(CHALLENGE):
            msg = f"expected {CHALLENGE.decode()}, got {frame[:32]!r}; this is no listener of multiprocessing"
            raise ProtocolError("server's challenge", msg)
        challenge = frame[len(CHALLENGE) :]
        if len(challenge) == _LEGACY_BYTES:
            self._challenge = self._challenge[-_LEGACY_BYTES:]
        self._send(answer_challenge(self._authkey, challenge, md5_allowed=self._md5_allowed))
        self._state = _State.VERDICT

    def _read_verdict(self, frame: bytes) -> None:
        if frame == FAILURE:
            raise AuthenticationRefused(
                "the server refused our key, or the digest we used; give both sides the same key"
            )
        if frame != WELCOME:
            msg = f"expected {WELCOME.decode()}, got {frame[:32]!r}"
            raise ProtocolError("server's welcome", msg)
        self._send(CHALLENGE + self._challenge)
        self._state = _State.ANSWER

    def _read_answer(self, frame: bytes) -> Authenticated:
        try:
            digest = check_answer(self._authkey, self._challenge, frame, md5_allowed=self._md5_allowed)
        except AuthenticationRefused:
            self._send(FAILURE)
            raise
        self._state = _State.AUTHENTICATED
        self._send(WELCOME)
        return Authenticated(digest)

    _STEPS: ClassVar = {
        _State.CHALLENGE: _read_challenge,
        _State.VERDICT: _read_verdict,
        _State.ANSWER: _read_answer,
    }
