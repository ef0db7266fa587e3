"""A new term asks what became of the one before, so that the server need not wait for that one."""

from __future__ import annotations

import pytest

from mpclient.output.printer import Printer
from mpclient.session import Describes, Session
from mpclient.transport.term import Term
from mpshared.address import Address
from mpshared.errors import ServerGone


@pytest.mark.parametrize("role", ["program", "supervisor"])
def test_a_term_that_was_given_up_is_named_by_the_next(role):
    session = Session(Address.parse("127.0.0.1:1"), b"key", Describes(role))
    told = {"server": "s", "epoch": "e", "limits": {"max_message": 1 << 20}, "session_timeout_s": 30.0}
    term = Term(told | {"session": "id", "secret": "secret"}, Printer(lambda _pieces: None))
    session.end(term, ServerGone("it did not answer"))
    assert session._introduction(session._unsettled)["before"] == {"session": "id", "secret": "secret"}
