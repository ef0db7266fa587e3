"""The Processes of a worker host whose nursery is stopped for a while: its supervisor goes on."""

from __future__ import annotations

import os
import selectors
import signal
import sys
from typing import Any

import pytest

from mpclient.testing import wait_until
from mpclient.worker.host.nursing import Nursing
from mpclient.worker.options import Options
from mpshared.address import Address
from mpshared.keys import Key

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
MANY = 40
NAME = "n" * 10_000
"""So many orders of this size are more than a socket takes that nobody reads."""


class Log:
    def __getattr__(self, level: str) -> Any:
        return lambda event, **fields: None


class Told:
    """What the server is told."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.ended: list[str] = []

    def refuse(self, process: str, why: str) -> None:
        self.refused.append(process)

    def bring(self, program: str, stream: int, data: bytes) -> bool:
        return True

    def tell_end(self, process: str, session: str, exitcode: int, report: dict[str, Any]) -> None:
        self.ended.append(process)


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def selector():
    with selectors.DefaultSelector() as selector:
        yield selector


@pytest.fixture
def nursing(told, selector, tmp_path):
    address = Address.parse(f"unix:{tmp_path}/nobody")
    options = Options(address, Key(b"key", "a test"), "host", 1)
    nursing = Nursing(options, told, selector, Log, lambda: None)
    nursing.warm()
    yield nursing
    nursing.close()


def turn(selector):
    for key, _ in selector.select(0.1):
        if selector.get_map().get(key.fd) is key:
            key.data()


def test_orders_to_a_stopped_nursery_wait(nursing, told, selector):
    os.kill(nursing.pid, signal.SIGSTOP)
    for number in range(MANY):
        nursing.start(f"p{number}", NAME, "supervisor", others=0)
    for _ in range(1000):
        nursing.signal("p0", signal.SIGUSR1)
    nursing.dismiss_all()
    assert nursing.count == MANY
    os.kill(nursing.pid, signal.SIGCONT)

    def all_gone():
        turn(selector)
        return not nursing.count

    wait_until(all_gone, 60)
    assert len({*told.ended, *told.refused}) == MANY


def test_a_stopped_nursery_that_is_killed(nursing, told, selector):
    os.kill(nursing.pid, signal.SIGSTOP)
    for number in range(MANY):
        nursing.start(f"p{number}", NAME, "supervisor", others=0)
    os.kill(nursing.pid, signal.SIGKILL)

    def all_gone():
        turn(selector)
        return not nursing.count

    wait_until(all_gone, 60)
    assert len(told.ended) == MANY
    assert not nursing.pid
