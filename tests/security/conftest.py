"""Servers to attack, and somebody to attack them.

server          one for each module
fresh_server    a factory: servers with options, or that an attack may harm
raw             raw connections of our own protocol to `server`
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
from tests.integration.raw import Raw, raw_of
from tests.security.attackers import Attacked

PATIENT = ("--max-failures", "1000000")
"""Else who fails often is answered a second later: `test_limits.py` shows that."""
collect_ignore = [] if sys.platform == "linux" else ["attackers.py"]  # memory is read from /proc


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Attacked]:
    started = Attacked(tmp_path_factory.mktemp("attacked") / "server", PATIENT)
    started.start()
    yield started
    started.stop()


@pytest.fixture
def fresh_server(tmp_path) -> Iterator[Callable[..., Attacked]]:
    started: list[Attacked] = []

    def start(*options: str, **more: str) -> Attacked:
        server = Attacked(tmp_path / f"server{len(started)}", (*PATIENT, *options), more=more)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def raw(server) -> Iterator[Raw]:
    with raw_of(server) as raw:
        yield raw
