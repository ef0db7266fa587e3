"""The supervisor's connection to the server."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from mpclient.transport.dialling import Lost
from mpclient.worker.host.link import Link
from mpshared.address import Address
from mpshared.keys import Key


class Session:
    """One whose calls take until somebody closes it, or for a moment."""

    def __init__(self, told):
        self.told = told
        self.closed = threading.Event()

    def dial(self, _timeout_s):
        raise Lost("nobody is there")

    def call_patiently(self, *_):
        self.told.append("cut off" if self.closed.wait(0.1) else "reported")
        return SimpleNamespace(result=True)

    def close(self):
        self.closed.set()


@pytest.fixture
def link():
    about = {"name": "host", "processes": 1, "max_spawned": 1, "queue": "tasks", "results": "results"}
    where = {"address": Address.parse("127.0.0.1:1"), "key": Key(b"k" * 32, "a test"), "tls": None}
    return Link(SimpleNamespace(**about, **where, connect_timeout_s=60.0), lambda _: None)


def test_the_last_reports_go_ahead_of_the_goodbye(link):
    told = []
    link._session = Session(told)
    link.start()
    for process in "ab":
        link.tell_end(process, "", 0, {})
    link.close()
    assert told == ["reported", "reported"]
