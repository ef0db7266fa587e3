import socket

import pytest
from tests.unit.net.stage import Stage

from mpshared.address import Address


@pytest.fixture(params=["tcp", "unix"])
def stage(request, tmp_path):
    if request.param == "unix":
        if not hasattr(socket, "AF_UNIX"):
            pytest.skip("no unix sockets here")
        stage = Stage(Address.unix(str(tmp_path / "s")))
    else:
        stage = Stage()
    yield stage
    stage.close()
