"""Keys, challenges and proofs.

RULES
* Secrets are compared with `hmac.compare_digest` only; where there are several, with all of them: the time
  does not tell which one it was.
* MD5 is an answer like any other to the standard library; here it needs permission, in both directions.
* Our own protocol never uses the key itself but one derived from it, and every proof names the role of who
  gives it: a proof sent back to its author proves nothing.

The standard library's answers, which any holder of the key computes for any challenge of these forms:

      challenge                       answer                                     who
      20 bytes                        HMAC-MD5(key, challenge)                   all versions
      "{digest}" + bytes              "{digest}" + HMAC-digest(key, challenge)   3.12 and later
      anything (also "{digest}" …)    HMAC-MD5(key, challenge)                   3.11 and earlier

The label of the derived key is of none of these forms with SHA-256, so nobody can be made to compute the
derived key by challenging him.

Source: CPython `Lib/multiprocessing/connection.py`, `_create_response` and `_verify_challenge` (3.12),
`answer_challenge`.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from typing import Final

from mpshared.wire.errors import AuthenticationRefused, WeakKey

__all__ = [
    "KEY_MIN_BYTES",
    "answer_challenge",
    "check_key",
    "derive_key",
    "find_same",
    "match_answer",
    "prove",
    "same",
]

KEY_MIN_BYTES: Final = 16
"""Whoever records a handshake may try keys at home, as many as he likes; 128 random bits stand that."""

_DIGESTS: Final = frozenset({"md5", "sha256", "sha384", "sha3_256", "sha3_384"})
_PREFIX: Final = re.compile(rb"\{([a-z0-9_]{3,8})\}")
_BARE_CHALLENGE_BYTES: Final = 20
_BARE_ANSWER_BYTES: Final = 16
_LABEL: Final = b"mpserve own protocol: the key of its proofs"


def check_key(authkey: bytes) -> bytes:
    """Return the key as plain bytes.

    Raises:
        TypeError: It is not bytes.
        WeakKey: It is shorter than 16 bytes.
    """
    if not isinstance(authkey, bytes):
        raise TypeError(
            f"the authentication key must be bytes, not {type(authkey).__name__}; encode the text first"
        )
    if len(authkey) < KEY_MIN_BYTES:
        raise WeakKey(
            f"the authentication key has {len(authkey)} bytes and could be guessed; it opens all data "
            f"of the server: use at least {KEY_MIN_BYTES} random bytes, e.g. secrets.token_hex(32).encode()"
        )
    return bytes(authkey)


def same(one: bytes, other: bytes) -> bool:
    """Compare two secrets in a time that does not tell where they differ."""
    return hmac.compare_digest(one, other)


def find_same(secrets: Sequence[bytes], given: bytes) -> int:
    """Return which of the secrets was given, -1 for none, in a time that tells neither."""
    matches = [same(secret, given) for secret in secrets]
    return matches.index(True) if True in matches else -1


def answer_challenge(authkey: bytes, challenge: bytes, *, md5_allowed: bool) -> bytes:
    """Return the answer to a stock challenge.

    Raises:
        AuthenticationRefused: The challenge is too short, asks for an unknown digest, or for MD5 without
            permission.
    """
    if len(challenge) < _BARE_CHALLENGE_BYTES:
        raise AuthenticationRefused(
            f"the peer's challenge has {len(challenge)} bytes, {_BARE_CHALLENGE_BYTES} are the least"
        )
    digest = "" if len(challenge) == _BARE_CHALLENGE_BYTES else _digest_of(challenge, "challenge")
    mac = _mac(authkey, challenge, digest or "md5", md5_allowed=md5_allowed)
    return b"{%s}%s" % (digest.encode(), mac) if digest else mac


def match_answer(
    authkeys: Sequence[bytes], challenge: bytes, answer: bytes, *, md5_allowed: bool
) -> tuple[str, int]:
    """Return the digest with which the peer has proved that it holds one of the keys, and which of them.

    Raises:
        AuthenticationRefused: It holds none, or proved it with MD5 and without permission.
    """
    bare = len(answer) == _BARE_ANSWER_BYTES
    digest = "md5" if bare else _digest_of(answer, "answer")
    given = answer if bare else answer[len(digest) + 2 :]
    macs = [_mac(authkey, challenge, digest, md5_allowed=md5_allowed) for authkey in authkeys]
    which = find_same(macs, given)
    if which < 0:
        raise AuthenticationRefused(
            "the peer's answer to the challenge is wrong: it uses another key; give both sides the same one"
        )
    return digest, which


def derive_key(authkey: bytes) -> bytes:
    """Return the key of our own protocol's proofs."""
    return hmac.digest(authkey, _LABEL, "sha256")


def prove(key: bytes, role: bytes, hello: bytes, answer: bytes) -> bytes:
    """Return the proof of one role over everything that was said before it.

    Args:
        key: From `derive_key`.
        role: b"client" or b"server".
        hello: The client's first message, whole: its nonce and its range of versions.
        answer: The server's, whole: its nonce and the version it chose.
    """
    transcript = b"".join(len(part).to_bytes(4, "big") + part for part in (role, hello, answer))
    return hmac.digest(key, transcript, "sha256")


def _digest_of(message: bytes, what: str) -> str:
    match = _PREFIX.match(message)
    digest = match[1].decode() if match else ""
    if digest not in _DIGESTS:
        raise AuthenticationRefused(
            f"the peer's {what} names no digest of multiprocessing's ({', '.join(sorted(_DIGESTS))})"
        )
    return digest


def _mac(authkey: bytes, message: bytes, digest: str, *, md5_allowed: bool) -> bytes:
    if digest == "md5" and not md5_allowed:
        raise AuthenticationRefused(
            "the peer uses HMAC-MD5, as Python up to 3.11 does; allow MD5 here or use Python 3.12 there"
        )
    try:
        return hmac.digest(authkey, message, digest)
    except ValueError as err:  # FIPS builds have no MD5
        raise AuthenticationRefused(f"this Python has no {digest}: {err}") from None
