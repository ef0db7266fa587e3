"""A session that is closed by another thread, or task, just while it begins: nothing of it stays."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.client.peer import KEY

from mpclient.aio.session import Session
from mpshared.errors import ServerGone
from mpshared.wire.own.frames import Call, Type

CLOSED = "this program closed its connection"


def on_attach(close):
    """Return a script that closes the session before it is told that it has one."""

    def script(event):
        if not isinstance(event, Call) and event.type is Type.ATTACH:
            close()

    return script


def test_threads(peer, session):
    peer.script = on_attach(session.close)
    with pytest.raises(ServerGone, match=CLOSED):
        session.start()
    assert [event.type for event in peer.controls] == [Type.GOODBYE]


def test_tasks(peer):
    async def begin():
        loop, session = asyncio.get_running_loop(), Session(peer.address, KEY)
        peer.script = on_attach(lambda: asyncio.run_coroutine_threadsafe(session.close(), loop).result(10))
        with pytest.raises(ServerGone, match=CLOSED):
            await session.start()
        assert session.id == ""

    asyncio.run(begin())
