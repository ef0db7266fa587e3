"""Where a server listens, as people type it and as a socket wants it.

    host:port        a name or an IPv4 address         server:7707   127.0.0.1:7707
    [v6]:port        an IPv6 address                   [::1]:7707    [fe80::1%eth0]:7707
    unix:/path       a Unix socket, absolute path      unix:/run/user/1000/mpserve.sock

RULES
* What is printed can be typed back: `Address.parse(str(a)) == a`.
* No name is looked up here; a name has the family AF_UNSPEC, which `getaddrinfo` takes as a hint.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from dataclasses import dataclass

from mpshared.text import shorten
from mpshared.units import SettingError, parse_count

__all__ = ["DEFAULT_PORT", "UNIX_SEND_BYTES", "Address", "AddressError"]

DEFAULT_PORT = 7707
UNIX_SEND_BYTES = 1 << 20
"""Room for what is on its way over a Unix socket, as far as the system allows: with the 208 KiB that Linux
gives unless asked, a large value wakes its reader five times. TCP's grows by itself, up to 4 MiB."""
_UNIX = "unix:"
# sun_path has 108 bytes on Linux, 104 on BSD and macOS; the last one is a NUL
_PATH_LIMIT_BYTES = 107 if sys.platform == "linux" else 103
_HOST_LIMIT = 253  # RFC 1035, section 2.3.4, less the length bytes


class AddressError(SettingError):
    """An address that cannot be used; the text says what to type instead."""


@dataclass(frozen=True, slots=True)
class Address:
    """One place to listen at or to dial: a host and a port, or the path of a Unix socket.

    `host` is empty for a Unix socket, `path` is empty for TCP. Made by `parse`, `tcp`, `unix` or
    `from_sockaddr`, which check.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str, default_port: int | None = None) -> Address:
        """Read one of the three forms.

        Args:
            text: What the user typed.
            default_port: Used where the text names only a host; None makes the port obligatory.

        Raises:
            AddressError: None of the three forms, or parts that no socket takes.
        """
        typed = text.strip()
        if typed.startswith(_UNIX):
            return cls.unix(typed.removeprefix(_UNIX))
        host, port = _split(typed)
        if port is None and default_port is None:
            raise AddressError(f"{shorten(text)!r} has no port; write it like {_example(host)}")
        return cls.tcp(host, default_port or 0 if port is None else _port(port, typed))

    @classmethod
    def tcp(cls, host: str, port: int) -> Address:
        """Make the address of a TCP port; 0 lets the system choose one when listening.

        Raises:
            AddressError: An impossible host or port.
        """
        if not host or len(host) > _HOST_LIMIT or not host.isprintable() or set(host) & set(" /[]@"):
            raise AddressError(
                f"{shorten(host)!r} is not a host; write a name or an IP address, like server or 10.0.0.7"
            )
        if ":" in host and not _is_ip(host, 6):
            raise AddressError(
                f"{shorten(host)!r} is not an IPv6 address; write it like [::1]:{DEFAULT_PORT}"
            )
        if not 0 <= port <= 65535:
            raise AddressError(f"there is no port {port}; write one from 1 to 65535, like {_example(host)}")
        return cls(host=host, port=port)

    @classmethod
    def unix(cls, path: str) -> Address:
        """Make the address of a Unix socket.

        Raises:
            AddressError: A relative path, one longer than the system takes, or a system without Unix sockets.
        """
        if not hasattr(socket, "AF_UNIX"):
            raise AddressError(
                f"this system has no Unix sockets; write host:port, like 127.0.0.1:{DEFAULT_PORT}"
            )
        if not path.startswith("/") or "\0" in path:
            raise AddressError(
                f"{shorten(path)!r} is not an absolute path; write it like unix:/tmp/mpserve.sock"
            )
        if len(path.encode("utf-8", "surrogateescape")) > _PATH_LIMIT_BYTES:
            raise AddressError(
                f"the path {shorten(path)!r} is longer than the {_PATH_LIMIT_BYTES} bytes a Unix socket may "
                "have; use a shorter one"
            )
        return cls(path=path)

    @classmethod
    def from_sockaddr(cls, sockaddr: object) -> Address:
        """Make an address from what sockets and `multiprocessing.managers` use: (host, port) or a path.

        An IPv6 address of four parts is taken too; its flow and scope numbers are dropped (the scope's name
        is in the host).

        Raises:
            AddressError: Another shape.
        """
        if isinstance(sockaddr, Address):
            return sockaddr
        if isinstance(sockaddr, str) and sockaddr:
            return cls.unix(sockaddr)
        match sockaddr:
            case (str() as host, int() as port, *_):
                return cls.tcp(host or "0.0.0.0", port)  # noqa: S104 - what an empty host means to a socket
            case _:
                raise AddressError(
                    f"{shorten(repr(sockaddr))} is not an address; give (host, port), e.g. ('server', "
                    f"{DEFAULT_PORT})"
                )

    @property
    def family(self) -> socket.AddressFamily:
        """Tell AF_UNIX, AF_INET, AF_INET6, or AF_UNSPEC for a name that has to be looked up."""
        if sys.platform != "win32" and self.path:
            return socket.AF_UNIX
        if ":" in self.host:
            return socket.AF_INET6
        return socket.AF_INET if _is_ip(self.host, 4) else socket.AF_UNSPEC

    @property
    def sockaddr(self) -> tuple[str, int] | str:
        """Give what `socket.connect`, `socket.bind` and `BaseManager(address=…)` take."""
        return self.path or (self.host, self.port)

    @property
    def is_unix(self) -> bool:
        """Tell whether this is a Unix socket."""
        return bool(self.path)

    @property
    def is_local(self) -> bool:
        """Tell whether only this machine can reach it: a Unix socket, `localhost`, or a loopback address."""
        if self.path or self.host.lower() == "localhost":
            return True
        return self.family != socket.AF_UNSPEC and ipaddress.ip_address(self.host).is_loopback

    def with_port(self, port: int) -> Address:
        """Give the same host with the port that the system chose."""
        return self if self.path else Address.tcp(self.host, port)

    def __str__(self) -> str:
        if self.path:
            return _UNIX + self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _split(typed: str) -> tuple[str, str | None]:
    """Part host and port; the port is None where the text has none."""
    if typed.startswith("["):
        host, bracket, rest = typed[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or ":" not in host:
            raise AddressError(
                f"{shorten(typed)!r} is not an IPv6 address with a port; write it like [::1]:{DEFAULT_PORT}"
            )
        return host, rest[1:] if rest else None
    if "://" in typed:
        raise AddressError(f"{shorten(typed)!r} is a URL; write only host:port, like server:{DEFAULT_PORT}")
    if typed.count(":") > 1:
        raise AddressError(
            f"{shorten(typed)!r}: where does the port begin? Write an IPv6 address in brackets, like "
            f"[::1]:{DEFAULT_PORT}"
        )
    host, colon, port = typed.partition(":")
    return host, port if colon else None


def _port(digits: str, typed: str) -> int:
    try:
        return parse_count(digits, most=65535)
    except SettingError as error:
        raise AddressError(f"{shorten(typed)!r}: the port {error}") from None


def _is_ip(host: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(host).version == version
    except ValueError:
        return False


def _example(host: str) -> str:
    return str(Address(host=shorten(host) or "server", port=DEFAULT_PORT))
