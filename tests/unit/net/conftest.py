"""A loop and a listener on a stage, over TCP and over a Unix socket."""

import socket

import pytest
from tests.unit.net.stage import Stage

from mpshared.address import Address


@pytest.fixture(params=["tcp", "unix"])
def stage(request, tmp_path):
    kind, _, patient = request.param.partition(" ")
    more = {"session_timeout_s": 1000.0} if patient else {}
    if kind == "unix":
        if not hasattr(socket, "AF_UNIX"):
            pytest.skip("no unix sockets here")
        stage = Stage(Address.unix(str(tmp_path / "s")), **more)
    else:
        stage = Stage(**more)
    yield stage
    stage.close()
