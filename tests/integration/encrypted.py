"""A server that speaks TLS, started by its command line, and how it is dialled.

A test module takes the fixtures over by name: ``tls_server = encrypted.tls_server``.

made        an authority of the module's own
tls_server  a server that wants certificates, with a plain Unix socket beside: for the whole module
Tunnel      what speaks TLS for somebody, or stands between
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from tests.certificates import Made
from tests.integration.conftest import Server

import mpclient
from mpshared.tls import TlsFiles

__all__ = ["TlsServer", "Tunnel", "keywords", "made", "options", "tls_server", "variables"]


def options(files: TlsFiles) -> tuple[str, ...]:
    named = zip(("--tls-cert", "--tls-key", "--tls-ca"), files, strict=True)
    return tuple(word for option, path in named if path for word in (option, path))


def keywords(files: TlsFiles) -> dict[str, str]:
    return {f"tls_{name}": path for name, path in files._asdict().items() if path}


def variables(files: TlsFiles) -> dict[str, str]:
    return {f"MPSERVE_TLS_{name.upper()}": path for name, path in files._asdict().items()}


class TlsServer(Server):
    """One that is dialled with certificates."""

    files: TlsFiles = TlsFiles()

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | variables(self.files)

    def connect(self, **more) -> mpclient.Cluster:
        return super().connect(**keywords(self.files) | more)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def tls_server(made, tmp_path_factory) -> Iterator[TlsServer]:
    folder = tmp_path_factory.mktemp("tls server")
    server = TlsServer(folder / "main", (*options(made.server()), "--plain", f"unix:{folder / 'plain'}"))
    server.files = made.client()
    yield server.start()
    server.stop()


class Tunnel:
    """What `stunnel` or `socat` does: plain on this machine, TLS to the server; with `ends`, TLS here too."""

    def __init__(self, server: TlsServer, files: TlsFiles, ends: ssl.SSLContext | None = None) -> None:
        self._context = ssl.create_default_context(cafile=files.ca)
        self._context.load_cert_chain(files.cert, files.key)
        self._ends = ends
        host, _, port = server.address.rpartition(":")
        self._target = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> tuple[str, int]:
        self._run(self._serve)
        where: tuple[str, int] = self._listener.getsockname()
        return where

    def __exit__(self, *_exc: object) -> None:
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for sock in self._sockets:
            sock.close()

    def _run(self, target: Callable[..., None], *args: object) -> None:
        self._threads.append(threading.Thread(target=target, args=args, daemon=True))
        self._threads[-1].start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._ends is not None:
                    client = self._ends.wrap_socket(client, server_side=True)
                self._sockets.append(client)
                server = self._context.wrap_socket(
                    socket.create_connection(self._target), server_hostname=self._target[0]
                )
                self._sockets.append(server)
                self._run(self._pump, client, server)
                self._run(self._pump, server, client)

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for sock in (source, sink):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
