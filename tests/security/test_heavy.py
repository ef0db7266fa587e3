"""Requests that are heavy to open: made for that, or because they carry much. Nobody else waits for either.

What is made for it is refused in one clear error; a server that opened it would take seconds, and gigabytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.managers import RemoteError, SyncManager
from typing import Any

import pytest
from tests.integration.conftest import in_thread
from tests.integration.raw import raw_of
from tests.security.attackers import Attacked, Stock, request, unharmed
from tests.unit.net.stage import Closed

from mpshared.errors import TooBig
from mpshared.ops import BY_NAME
from mpshared.symbolic import Stub
from mpshared.values import NONE, NUMBERS_MOST, VALUES_MOST
from mpshared.wire.own.frames import Failed
from mpshared.wire.own.pack import DEAR_MOST

MIB = 1 << 20
NOTICED_S = 3.0
"""Usually it is 0.03 s, for the largest 0.1 to 0.2 s; a busy machine takes a few times as long. Opened in the
loop it was 8 to 14 s for the worst of these."""
COSTS_BYTES = 192 * MIB
"""Beyond what travels, which is there twice while it is opened."""

OPCODES = {
    "empty lists": b"]",
    "empty sets": b"\x8f",
    "lists in the memo": b"]\x94",
    "marks": b"(",
    "objects": b"cm\nC\n)\x81",
    "texts": b"\x8c\x00",
    "tuples of tuples": b")\x85",
}
WORST = ("empty sets", "objects")


@contextmanager
def unnoticed(server: Attacked, size_bytes: int = 0) -> Iterator[None]:
    with unharmed(server, grows_bytes=COSTS_BYTES + 2 * size_bytes, answers_s=NOTICED_S):
        yield


# -- the standard library's protocol -----------------------------------------------------------------


def crafted(ident: str, opcodes: bytes, size_bytes: int) -> bytes:
    """Return a request of that size: a tuple made by these opcodes, again and again."""
    return request(ident, "append", b"(" + opcodes * (size_bytes // len(opcodes)) + b"t")


def is_refusal(answer: Any) -> bool:
    """Tell whether a reply is the one error that says what is wrong, and what to do."""
    match answer:
        case ("#ERROR", Stub(args=(str(told),))):
            return "parts" in told and "send it in smaller parts" in told
    return False


@pytest.mark.parametrize(("name", "count"), {**dict.fromkeys(OPCODES, 2), **dict.fromkeys(WORST, 8)}.items())
def test_opcodes_by_the_mebibyte_from_many_at_once(server, name, count):
    with ExitStack() as stack:
        stocks = [Stock(server) for _ in range(count)]
        for stock in stocks:
            stack.callback(stock.close)
        ident = stocks[0].create("list")
        payload = crafted(ident, OPCODES[name], MIB)
        with unnoticed(server, count * MIB):
            answers = [in_thread(lambda stock=stock: stock.ask(payload)) for stock in stocks]
            assert [is_refusal(answer()) for answer in answers] == [True] * count
        assert stocks[0].ask(request(ident, "__len__")) == ("#RETURN", 0)


@pytest.mark.parametrize("mib", [4, 64])
def test_opcodes_by_many_mebibytes(server, mib):
    stock = Stock(server)
    ident = stock.create("list")
    with unnoticed(server, mib * MIB):
        for name in WORST:
            assert is_refusal(stock.ask(crafted(ident, OPCODES[name], mib * MIB)))
    assert stock.ask(request(ident, "__len__")) == ("#RETURN", 0)
    stock.close()


def test_few_bytes_that_ask_for_many_elements(server):
    """Of a shared set, whose methods take any number of ranges."""
    stock = Stock(server)
    ident = stock.create("set")
    numbers = b"cbuiltins\nrange\nK\x00J" + struct.pack("<i", 90_000) + b"K\x01\x87R"
    with unnoticed(server):
        kind, told = stock.ask(request(ident, "union", numbers * 200))
        assert kind == "#ERROR"
        assert "pass less of them at a time" in told.args[0]
    stock.close()


@pytest.fixture
def manager(server) -> SyncManager:
    connected = SyncManager(server.where, server.key.encode())
    connected.connect()
    return connected


NUMBERS = list(range(1_000_000))
TEXTS = {f"key {n}": f"text number {n}" for n in range(100_000)}


@pytest.mark.parametrize("value", [NUMBERS, bytes(64 * MIB), TEXTS], ids=["numbers", "bytes", "texts"])
def test_an_honest_large_value_of_a_standard_library_client(server, manager, value):
    with unharmed(server, grows_bytes=512 * MIB, answers_s=NOTICED_S):
        shared = manager.list()
        shared.append(value)
        assert shared[0] == value


def test_honest_large_containers_of_a_standard_library_client(server, manager):
    with unharmed(server, grows_bytes=1024 * MIB, answers_s=NOTICED_S):
        numbers = manager.list(NUMBERS)
        assert len(numbers) == len(NUMBERS)
        assert numbers[999_990:] == NUMBERS[999_990:]
        texts = manager.dict()
        texts.update(TEXTS)
        assert len(texts) == len(TEXTS)
        assert texts.copy() == TEXTS


def test_a_namespace_of_many_attributes(server, manager):
    with unnoticed(server, 8 * MIB):
        many = manager.Namespace(**{f"a{n}": n for n in range(50_000)})
        assert (many.a0, many.a49999) == (0, 49_999)


def test_more_elements_than_a_call_may_have_are_refused_and_nothing_is_changed(server, manager):
    shared = manager.list([1])
    with unnoticed(server, 8 * MIB):
        with pytest.raises(ValueError, match=f"takes {VALUES_MOST}: send them in smaller parts"):
            shared.extend(range(1))
            shared.extend(NUMBERS)
        with pytest.raises(RemoteError, match="send them in smaller parts"):
            manager.list([None] * (NUMBERS_MOST + 1))
    assert shared._getvalue() == [1, 0]


# -- our own protocol -----------------------------------------------------------------------------------

HEADS = {
    "empty lists": (b"\x90", 4 * MIB),
    "few empty lists": (b"\x90", DEAR_MOST + 1),
    "lists of lists": (b"\x91\x90", MIB),
    "empty maps": (b"\x80", MIB),
    "pickled keys": (b"\xd4\x01x", MIB // 2),
    "numbers": (b"\x01", 9 * MIB),
    "texts": (b"\xa2ab", 3 * MIB),
}


def frame(name: str, head: bytes, payload: bytes = b"") -> bytes:
    code, size = BY_NAME[name].code, len(head) + len(payload)
    return struct.pack("!IBBHIQQI", size, 1, 0, code, 0, 1, 0, len(head)) + head + payload


def many(element: bytes, count: int) -> bytes:
    return b"\xdd" + struct.pack(">I", count) + element * count


def refused(raw, data: bytes) -> str:
    """Return what a program is told that sends this; its connection is closed, and no other."""
    program = raw.program()
    program.send(data)
    told = program.next_event()
    assert isinstance(told, Failed)
    assert (told.lane, told.number, told.code) == (0, 0, "protocol")
    with pytest.raises((Closed, ConnectionResetError)):
        program.next_event()
    return told.text


@pytest.mark.parametrize("name", HEADS)
def test_heads_of_many_objects(server, raw, name):
    element, count = HEADS[name]
    data = frame("cluster.adopt", b"\x93\xa0\x91" + many(element, count) + b"\x90")
    with unnoticed(server, len(data)):
        assert "over 131072" in (told := refused(raw, data)) or "exceeds" in told or "accepts" in told


def test_a_head_of_many_lists_of_many_numbers(server, raw):
    data = frame("cluster.adopt", b"\x93\xa0" + many(many(b"\x01", MIB), 9) + b"\x90")
    with unnoticed(server, len(data)):
        program = raw.program()
        program.send(data)
        told = program.next_event()
        assert isinstance(told, Failed)
        assert "takes 1 arguments, got 9" in told.text


def test_more_values_than_a_call_may_have(server, raw):
    count = VALUES_MOST + 1
    data = frame("list.extend", b"\x93\xa0\x90" + many(b"\x01", count), b"N" * count)
    with unnoticed(server, len(data)):
        assert f"{count} values" in refused(raw, data)
        buffers = many(b"\x01", count)
        beside = frame("list.append", b"\x93\xa0\x90\x91\x94\x00\x01" + buffers + b"\x90", b"N" * (count + 1))
        assert f"{count + 1} values and buffers" in refused(raw, beside)


def test_honest_large_calls_of_our_own_client(server):
    with unharmed(server, grows_bytes=512 * MIB, answers_s=NOTICED_S), server.connect() as cluster:
        items = cluster.Queue()
        items.put_many(range(100_000))
        assert items.qsize() == 100_000
        texts = cluster.dict()
        texts.update(TEXTS)
        assert len(texts) == len(TEXTS)
        numbers = cluster.Array("d", 500_000)
        numbers[:] = [0.5] * 500_000
        assert numbers[499_999] == 0.5


def test_our_own_client_says_so_before_it_sends_more(server):
    with server.connect() as cluster:
        shared = cluster.list()
        with pytest.raises(TooBig, match=f"takes {VALUES_MOST}; send them in smaller parts"):
            shared.extend_blobs([NONE] * (VALUES_MOST + 1))
        members = cluster.set()
        with pytest.raises(TooBig, match="send"):
            members.difference_update((n,) for n in range(DEAR_MOST + 1))
        assert len(shared) == len(members) == 0
        shared.extend([None] * (VALUES_MOST + 1))  # in parts, by itself
        assert len(shared) == VALUES_MOST + 1


def test_many_names_are_listed_without_keeping_anybody_waiting(fresh_server):
    server = fresh_server()
    with raw_of(server) as raw:
        program, opened = raw.program(), 0
        while opened < 20_000:  # by the thousand: one by one most of it is waiting
            asked = range(opened, opened + 1000)
            opens = [program.encode("cluster.open", "", "event", f"e{n}", {}, False, None) for n in asked]
            program.send(b"".join(opens))
            opened += len([program.next_event() for _ in asked])
        with unnoticed(server):
            assert len(program.call("cluster.list_objects").result) == 20_000
