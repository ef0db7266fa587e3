"""Targets: our own client, at a server that proved itself and then says anything; and what people type."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from typing import Any, Final, cast

from mpclient.output.printer import Printer
from mpclient.transport.dialling import Connection
from mpclient.transport.term import Term
from mpshared.address import Address
from mpshared.errors import MpserveError, make
from mpshared.settings import TABLE
from mpshared.units import SettingError
from mpshared.wire.own.frames import Control, Failed, Type

__all__ = ["client_session", "settings"]

_READABLE: Final = os.open(os.devnull, os.O_RDONLY)
"""What to poll for the socket that is none: there is always something to read."""


class _Socket:
    """A socket at whose other end are these bytes."""

    family = socket.AF_UNIX

    def __init__(self, data: bytes) -> None:
        self._data = data

    def recv(self, size: int, _flags: int = 0) -> bytes:
        data, self._data = self._data[:size], self._data[size:]
        return data

    def sendall(self, data: bytes) -> None:
        pass

    def settimeout(self, seconds: float | None) -> None:
        pass

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", 7707

    def fileno(self) -> int:
        return _READABLE

    def close(self) -> None:
        pass


def client_session(data: bytes) -> None:
    """Attach, then read all that the server says, as a keeper and a lane do."""
    connection = Connection(cast(Any, _Socket(data)))
    attached = connection.attach({"new": {}})
    printer = Printer(lambda _pieces: None, attached.get("run", ""))
    printer._thread = threading.current_thread()  # else each input would start one that prints
    term = Term(attached, printer)
    term.shortcut = connection.shortcut(attached.get("shortcut"))
    while True:
        event = connection.next_event()
        if isinstance(event, Failed):
            error = make(event.code, event.text, event.fields)
            assert isinstance(error, MpserveError)
            str(error)
        elif isinstance(event, Control) and event.type is Type.OUTPUT:
            printer.take(*event.body)


_PARSERS: Final = frozenset(setting.parse for setting in TABLE)


def settings(data: bytes) -> None:
    """Type lines, each for a setting of every sort and for an address."""
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        for parse in _PARSERS:
            with suppress(SettingError):
                parse(line)
        address = Address.parse(line, 7707)
        assert Address.parse(str(address)) == address, "what is printed cannot be typed back"
