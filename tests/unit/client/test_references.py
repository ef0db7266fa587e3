"""What a program tells the server of a great many references: all of it, no more at once than it takes."""

from __future__ import annotations

from typing import Any

import pytest

from mpclient.transport.errands import Errands
from mpclient.transport.references import AT_ONCE, References
from mpshared.errors import NoSuchObject
from mpshared.wire.own.frames import Call, FrameDecoder

MANY = 2 * AT_ONCE + 5


class Session:
    """As much of one as references need."""

    def wake(self) -> None:
        """Do nothing."""


@pytest.fixture
def references() -> References:
    found = References(Session())  # type: ignore[arg-type]
    found.epoch = "now"
    return found


def sent_by(references: References) -> list[list[Any]]:
    """Return the arguments of the calls in which all is told."""
    decoder, sent = FrameDecoder(1 << 30, bounded=True), []

    def send(pieces: list[bytes]) -> None:
        decoder.receive_data(b"".join(pieces))
        event = decoder.next_event()
        assert isinstance(event, Call)
        sent.append(event.args[0])

    Errands(references, send).tell_references()
    assert not references.waiting
    return sent


def test_what_is_dropped_goes_in_parts(references):
    for n in range(MANY):
        references.let_go(f"object {n}", 1)
    sent = sent_by(references)
    assert [*map(len, sent)] == [AT_ONCE, AT_ONCE, 5]
    assert {ident for part in sent for ident, _ in part} == {f"object {n}" for n in range(MANY)}


def test_so_does_what_is_lent(references):
    handles = [references.claim(f"object {n}") for n in range(MANY)]
    references.lend_all()
    sent = sent_by(references)
    assert [*map(len, sent)] == [AT_ONCE, AT_ONCE, 5]
    assert [ident for part in sent for ident in part] == [handle.ident for handle in handles]
    for handle in handles:
        handle.count = 0


def test_a_new_session_takes_its_references_in_parts_and_does_without_what_is_gone(references):
    handles = [references.claim(f"object {n}") for n in range(MANY)]
    asked: list[int] = []

    def ask(_op: Any, args: list[Any]) -> None:
        asked.append(len(args[0]))
        if "object 7" in args[0]:
            raise NoSuchObject("it is gone")

    references.renew("now", ask)
    assert asked == [AT_ONCE, *[1] * AT_ONCE, AT_ONCE, 5]
    assert [handle.ident for handle in handles if not handle.count] == ["object 7"]
    for handle in handles:
        handle.count = 0
