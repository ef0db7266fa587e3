"""The standard library's handshake as its client: what the server's side is tested with.

Source: CPython `Lib/multiprocessing/connection.py`, `Client`, `answer_challenge`, `deliver_challenge`.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import ClassVar

from mpshared.wire.auth import answer_challenge, match_answer
from mpshared.wire.errors import AuthenticationRefused
from mpshared.wire.handshake import CHALLENGE, FAILURE, WELCOME, ClientSide
from mpshared.wire.stock.server import Authenticated

__all__ = ["StockClient"]


class _State(Enum):
    CHALLENGE = auto()  # the server speaks first
    VERDICT = auto()  # we have answered it
    ANSWER = auto()  # it accepted us, we have challenged it
    AUTHENTICATED = auto()


class StockClient(ClientSide[Authenticated]):
    """A client of Python 3.12 or newer, with a nonce of 40 bytes."""

    def __init__(self, authkey: bytes, *, md5_allowed: bool, nonce: bytes) -> None:
        super().__init__(_State.CHALLENGE)
        self._authkey = authkey
        self._md5_allowed = md5_allowed
        self._challenge = b"{sha256}" + nonce

    def _read_challenge(self, frame: bytes) -> None:
        challenge = frame.removeprefix(CHALLENGE)
        self._send(answer_challenge(self._authkey, challenge, md5_allowed=self._md5_allowed))
        self._state = _State.VERDICT

    def _read_verdict(self, frame: bytes) -> None:
        if frame != WELCOME:
            raise AuthenticationRefused("the server refused our key")
        self._send(CHALLENGE + self._challenge)
        self._state = _State.ANSWER

    def _read_answer(self, frame: bytes) -> Authenticated:
        try:
            digest, _ = match_answer([self._authkey], self._challenge, frame, md5_allowed=self._md5_allowed)
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
