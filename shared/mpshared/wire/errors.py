"""What can go wrong on the wire.

RULES
* No machine here ever raises anything else because of bytes it was given.
* These are for whoever drives the wire; he turns them into what users see.

    Exception
    ├── ProtocolError         the peer breaks the protocol: close the connection
    │   ├── NotMpserve        the peer keeps it, but is not an mpserve server
    │   ├── ServerBusy        the server takes nobody more, now
    │   └── NotTls            one side speaks TLS, the other does not
    ├── AuthenticationRefused one side does not hold the other's key
    │   └── CertificateRefused one side does not accept the other's certificate
    ├── VersionMismatch       no version of the protocol that both speak
    └── ValueError
        ├── WeakKey           a key too short to be one
        └── CannotSend        our own caller passed what no frame can carry
            └── MessageTooLarge
"""

from __future__ import annotations

__all__ = [
    "AuthenticationRefused",
    "CannotSend",
    "CertificateRefused",
    "MessageTooLarge",
    "NotMpserve",
    "NotTls",
    "ProtocolError",
    "ServerBusy",
    "VersionMismatch",
    "WeakKey",
]


class ProtocolError(Exception):
    """The peer sent what the protocol does not allow.

    The connection cannot go on: nobody knows where the next frame begins.

    Attributes: `field` names what was wrong, as the protocol calls it.
    """

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"protocol error in {field}: {text}")
        self.field = field


class NotMpserve(ProtocolError):
    """The peer is a manager of the standard library, or something else that does not know our protocol."""


class ServerBusy(ProtocolError):
    """The server turned us away before anything else: a limit is reached. It may be otherwise later."""

    def __init__(self, text: str) -> None:
        super().__init__("server", text)
        self.args = (text,)


class NotTls(ProtocolError):
    """One side speaks TLS and the other does not, or not its version 1.3."""

    def __init__(self, text: str) -> None:
        super().__init__("TLS", text)
        self.args = (text,)


class AuthenticationRefused(Exception):
    """One side could not prove that it holds the key, or proved it in a way the other does not accept."""


class CertificateRefused(AuthenticationRefused):
    """One side's certificate is missing, or the other does not accept it."""


class VersionMismatch(Exception):
    """The two sides share no version of the protocol.

    Attributes: `ours` and `theirs` are the ranges (lowest, highest).
    """

    def __init__(self, text: str, ours: tuple[int, int], theirs: tuple[int, int]) -> None:
        super().__init__(text)
        self.ours = ours
        self.theirs = theirs


class WeakKey(ValueError):
    """An authentication key that could be guessed."""


class CannotSend(ValueError):
    """An argument is not plain data, or does not fit what a frame can express."""


class MessageTooLarge(CannotSend):
    """A message is larger than a frame can be."""
