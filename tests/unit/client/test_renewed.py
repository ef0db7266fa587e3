"""A new term asks what became of the one before, so that the server need not wait for that one."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.client.peer import CUT, KEY, reply

from mpclient.aio.session import Session as AsyncSession
from mpclient.output.printer import Printer
from mpclient.session import Describes, Session
from mpclient.transport.term import Term
from mpshared.address import Address
from mpshared.errors import ServerGone
from mpshared.wire.own.frames import Call


@pytest.mark.parametrize("role", ["program", "supervisor"])
def test_a_term_that_was_given_up_is_named_by_the_next(role):
    session = Session(Address.parse("127.0.0.1:1"), b"key", Describes(role))
    told = {"server": "s", "epoch": "e", "limits": {"max_message": 1 << 20}, "session_timeout_s": 30.0}
    term = Term(told | {"session": "id", "secret": "secret"}, Printer(lambda _pieces: None))
    session.end(term, ServerGone("it did not answer"))
    assert session._introduction(session._unsettled)["before"] == {"session": "id", "secret": "secret"}


@pytest.fixture
def broken(peer):
    """Have the connection break at the first call of a session, which takes references to what is held."""
    broken = [CUT]
    peer.script = lambda event: (
        (broken.pop() if broken else reply(event)) if isinstance(event, Call) else None
    )
    return broken


def test_a_connection_that_breaks_while_a_term_begins_is_made_again(session, broken):
    session.start()
    handle = session.claim("ident")
    session.end(session.start(), ServerGone("it did not answer"))
    session.start()
    assert not broken
    assert handle.count == 1


def test_so_is_one_of_asyncio(peer, broken):
    async def begin():
        session = AsyncSession(peer.address, KEY)
        await session.start()
        handle = session.claim("ident")
        session.end(await session.start(), ServerGone("it did not answer"))
        await session.start()
        await session.close()
        return handle.count

    assert asyncio.run(begin()) == 1
    assert not broken
