"""What is printed for a program: in order, once, all of it within the bound, lines whole."""

import re
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.examples import examples

from mpserve.core import output
from mpserve.core.output import Output
from mpserve.core.room import Room

KEPT_BYTES, ROOM_BYTES, ON_ITS_WAY_BYTES, COST_BYTES = 4000, 1500, 600, 64


@pytest.fixture(scope="module", autouse=True)
def small_bounds():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "KEPT_MAX_BYTES", KEPT_BYTES)
        patch.setattr(output, "_ROOM_BYTES", ROOM_BYTES)
        patch.setattr(output, "_ON_ITS_WAY_BYTES", ON_ITS_WAY_BYTES)
        patch.setattr(output, "_PAGE_BYTES", 200)
        yield


class Way(RuleBasedStateMachine):
    """Workers print; a program receives by connections that break, and prints now and then."""

    def __init__(self):
        super().__init__()
        self.output = Output(Room())
        self.numbers = count(1)
        self.added: list[tuple[str, int, bytes]] = []
        self.lost = 0
        self.received: list[tuple[int, bytes]] = []
        """What a client keeps that passes over what it knows."""
        self.on_its_way: list[tuple[int, bytes]] = []
        self.printed = 0

    @rule(
        source=st.sampled_from("ABC"),
        stream=st.sampled_from([1, 2]),
        ends=st.lists(st.sampled_from([b"\n", b""]), min_size=1, max_size=4),
        long=st.integers(0, 300),
    )
    def add(self, source, stream, ends, long):
        entries = []
        for end in ends:
            mark = b"!" if end else b""  # of what ends a line
            text = b"<%s%d%s%s>" % (source.encode(), next(self.numbers), mark, b"." * long)
            entries.append([stream, text + end])
        lost = self.output.add(source, entries)
        self.lost += lost
        self.added += [(source, stream, data) for _, data in entries][: len(entries) - lost]

    @rule()
    def send(self):
        while (page := self.output.next_page()) is not None:
            last, entries = page
            known = min(len(entries), len(self.received) - (last - len(entries)))
            assert known >= 0, "entries are missing"
            assert [*map(tuple, entries[:known])] == self.received[last - len(entries) :][:known]
            self.received += entries[known:]
            self.on_its_way += entries

    @rule(n=st.integers(1, 40))
    def print_some(self, n):
        self.printed = min(len(self.received), self.printed + n)
        self.output.printed(self.printed)
        self.on_its_way = self.on_its_way[len(self.on_its_way) - (len(self.received) - self.printed) :]

    @rule()
    def reconnect(self):
        self.output.rewind()
        self.on_its_way = []

    @rule(beyond=st.integers(1, 5))
    def lie(self, beyond):
        """A client that acknowledges what it was never sent harms nobody."""
        before = self.output.last
        self.output.printed(10**9 + beyond)
        self.printed = len(self.received)
        self.on_its_way = []
        assert self.output.last >= before

    @invariant()
    def is_bounded(self):
        self.output.validate()
        slack = 320 + COST_BYTES
        assert sum(len(data) + COST_BYTES for _, data in self.on_its_way) <= ON_ITS_WAY_BYTES + slack
        assert self.output._kept_bytes <= KEPT_BYTES + 2 * slack

    def teardown(self):
        """Print everything: nothing is missing but what the program was told of."""
        self.reconnect()
        while self.printed < self.output.last:
            self.send()
            self.print_some(40)
        for stream in (1, 2):
            self.check(stream)
        told = re.findall(rb"mpserve: (\d+) lines", b"".join(data for _, data in self.received))
        assert sum(map(int, told)) == self.lost

    def printed_on(self, stream):
        """Yield what a program prints on one stream: an entry without bytes ends an unfinished line."""
        before = b"\n"
        for number, data in self.received:
            if number == stream:
                before = data or (b"" if before.endswith(b"\n") else b"\n")
                yield before

    def check(self, stream):
        text = b"".join(self.printed_on(stream))
        text = re.sub(rb"(^|\n)mpserve: [^\n]*\n", rb"\1", text)
        expected = [data for _, number, data in self.added if number == stream]
        assert re.findall(rb"<[^>]*>", text) == [data.strip() for data in expected]
        for line in text.split(b"\n")[:-1]:
            *_, before, (source, mark) = [(b"", b""), *re.findall(rb"<([A-Z])\d+(!?)", line)]
            assert not mark or before in {(b"", b""), (source, b"")}, "a line is torn"


Way.TestCase.settings = settings(max_examples=examples(150), stateful_step_count=40, deadline=None)
test_output = Way.TestCase
