"""One connection, on a real socket: whether it is at its end, and whether there is a shorter way."""

from __future__ import annotations

import socket
import sys

import pytest

from mpclient.transport.dialling import Connection

OFFERED = ["mpserve-0", "127.0.0.1", 7707]


@pytest.fixture(params=["as here", "as on Windows"])
def ends(request, monkeypatch):
    if request.param == "as on Windows":
        monkeypatch.delattr(socket, "MSG_DONTWAIT", raising=False)
    ours, theirs = socket.socketpair()
    yield Connection(ours), ours, theirs
    ours.close()
    theirs.close()


def test_an_idle_connection_lives_and_waits_as_before(ends):
    connection, ours, _ = ends
    assert not connection.is_dead()
    assert ours.gettimeout() is None
    connection.limit(5.0)
    assert not connection.is_dead()
    assert ours.gettimeout() == 5.0


def test_a_goodbye_or_the_end_is_its_end(ends):
    connection, _, theirs = ends
    theirs.sendall(b"goodbye")
    assert connection.is_dead()
    theirs.close()
    assert connection.is_dead()
    connection.close()
    assert connection.is_dead()


class Dialled:
    """A socket whose other end is the address at which the server says that it was dialled."""

    def getpeername(self):
        return ("127.0.0.1", 7707)


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_only_linux_has_a_shortcut(monkeypatch, system):
    monkeypatch.setattr(sys, "platform", system)
    shortcut = Connection(Dialled()).shortcut(OFFERED)
    assert (shortcut is None) == (system != "linux")
