"""Making sockets: where the server listens, and what an accepted connection is set to."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpshared.address import Address

__all__ = ["listen_abstract", "listen_tcp", "listen_unix", "prepare_tcp"]

_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 30_000}
"""A host that vanished, or reads nothing, is noticed after 30 s: seconds, and milliseconds for the last. What
a system lacks is left out."""


def listen_tcp(address: Address) -> socket.socket:
    """Return a socket bound to `address`.

    Raises:
        OSError: No such host, or the port is taken.
    """
    infos = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, sockaddr = infos[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(sockaddr)
    except OSError:
        sock.close()
        raise
    return sock


def listen_unix(path: str) -> socket.socket:
    """Return a socket bound to `path`, readable and writable by this user only; a dead server's leftover is
    replaced.

    Raises:
        OSError: A living server listens there, or a file that is no socket is in the way.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
    except OSError:
        sock.close()
        raise
    return sock


def listen_abstract(name: str) -> socket.socket:
    """Return a socket bound to a name of this machine's network namespace; it vanishes with its process.

    Raises:
        OSError: This system has no such sockets; Linux has.
    """
    if sys.platform != "linux":
        raise OSError(errno.EAFNOSUPPORT, "only Linux has Unix sockets without a file")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(f"\0{name}")
    except OSError:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.settimeout(1.0)
    try:
        probe.connect(path)
    except ConnectionRefusedError:
        if Path(path).is_socket():  # a file of somebody's refuses too; bind() will tell of that one
            Path(path).unlink()
    except OSError:
        return
    finally:
        probe.close()


def prepare_tcp(sock: socket.socket) -> None:
    """Send at once, and find hosts that vanished without a word."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
