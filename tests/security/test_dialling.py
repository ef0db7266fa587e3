"""Forged proxies: the server dials nobody, whatever addresses and keys it is given, and in whatever place.

A server of the standard library connects to the address in a proxy that it unpickles, signs what it is asked
to, and unpickles the answer.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from tests.integration.conftest import ROOT
from tests.security.attackers import Attacked, Stock, request, short, text, unharmed
from tests.security.pickles import whole

from mpshared import symbolic
from mpshared.values import PickledKey, Value

MANAGERS = b"cmultiprocessing.managers\n"
TOKEN = b"cmultiprocessing.managers\nToken\n)\x81"
REBUILD = b"cmultiprocessing.managers\nRebuildProxy\n"
KINDS = b"ListProxy DictProxy AutoProxy MakeProxyType ValueProxy NamespaceProxy BaseProxy".split()


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A port that nobody may dial."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def dialled(trap: socket.socket) -> bool:
    try:
        trap.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def number(n: int) -> bytes:
    return b"M" + n.to_bytes(2, "little")


def forged(address: bytes, ident: str) -> list[bytes]:
    """Return opcodes of proxies and tokens that name another address."""
    token = TOKEN + b"(" + text("list") + address + text(ident) + b"tb"
    key = text("authkey") + short(b"a key of the attacker's choice")
    proxies = [
        REBUILD + b"(" + MANAGERS + kind + b"\n" + token + text("pickle") + kwds + b"tR"
        for kind in KINDS
        for kwds in (b"}", b"}(" + key + b"u", b"}(" + text("exposed") + b"](" + text("append") + b"eu")
    ]
    other = REBUILD + b"(cmultiprocessing.managers\nListProxy\n" + token + text("xmlrpclib") + b"}tR"
    direct = b"cmultiprocessing.managers\nListProxy\n(" + token + text("pickle") + b"tR"
    client = b"cmultiprocessing.connection\nClient\n(" + address + b"tR"
    rebuilt = b"cmultiprocessing.connection\nrebuild_connection\n(" + number(7) + b"\x88\x88tR"
    created = b"csocket\ncreate_connection\n" + address + b"\x85R"
    return [token, *proxies, other, direct, client, rebuilt, created]


def addresses(trap: socket.socket) -> list[bytes]:
    host, port = trap.getsockname()
    name = f"{host}:{port}"
    return [
        text(host) + number(port) + b"\x86",
        text(name),
        text(f"unix:/{name}"),
        b"N",
        short(name.encode()),
    ]


def places(lst: str, dct: str, evil: bytes) -> list[bytes]:
    return [
        request(lst, "append", evil),
        request(lst, "extend", evil),
        request(lst, "__contains__", evil),
        request(lst, "__getitem__", evil),
        request(dct, "__setitem__", text("key") + evil),
        request(dct, "__setitem__", evil + evil),
        request(dct, "update", evil),
        request(lst, "sort", b"", text("key") + evil),
        b"\x80\x04(" + evil + text("append") + b")}t.",
        whole(evil),
    ]


def test_proxies_that_stock_clients_forge_are_dialled_by_nobody(server, trap):
    stock = Stock(server)
    lst, dct, empty = stock.create("list"), stock.create("dict"), stock.create("list")
    with unharmed(server):
        for address in addresses(trap)[:3]:
            for evil in [*forged(address, empty), *forged(address, "0123456789abcdef")[:6]]:
                for payload in places(lst, dct, evil):
                    stock.ask(payload)
        once = Stock(server, persistent=False)
        for address in addresses(trap):
            for evil in forged(address, lst)[:2]:
                for payload in (
                    request("", "get_methods", evil),
                    request("", "create", text("list") + evil),
                    request("", "incref", evil),
                ):
                    once.ask(payload)
                    once.close()
                    once = Stock(server, persistent=False)
        once.close()
        stock.ask(request(lst, "__str__"))
    assert not dialled(trap)


def test_a_list_that_is_extended_by_itself_does_not_double_for_ever(server, raw):
    """A hundred bytes ask for all elements of a shared object; the server would read and write each."""
    stock = Stock(server)
    thousand = b"](" + b"K\x01" * 1000 + b"e"
    lst = stock.create("list", thousand)
    token = TOKEN + b"(" + text("list") + b"N" + text(lst) + b"tb"
    itself = REBUILD + b"(" + MANAGERS + b"ListProxy\n" + token + text("pickle") + b"}tR"
    raw.program().call("list.repeat", lst, 1000)  # as many as one call makes
    stock.ask(request(lst, "extend", thousand))
    with unharmed(server):
        for _ in range(3):
            assert stock.ask(request(lst, "extend", itself))[0] == "#ERROR"
    assert stock.ask(request(lst, "__len__")) == ("#RETURN", 1_001_000)
    stock.close()


def test_references_that_our_clients_forge_are_dialled_by_nobody(server, raw, trap):
    program = raw.program()
    box, lst = program.open("dict"), program.open("list")
    host, port = trap.getsockname()
    with unharmed(server):
        for where in (f"{host}:{port}", f"unix:{host}:{port}", ""):
            ref = b"cmpshared.values\nopen_ref\n" + text("list") + text(lst) + text(where) + b"\x87R"
            data = whole(ref)
            for blob in (data, Value(1, data, (), (lst,)), Value(1, data, (), (where, "0" * 16))):
                program.send(program.encode("list.append", lst, blobs=[blob]))
                program.next_event()
                program.send(program.encode("list.contains", lst, blobs=[blob]))
                program.next_event()
            program.send(program.encode("dict.set", box, PickledKey(data), blobs=[data]))
            program.next_event()
            program.send(program.encode("cluster.adopt", "", [where]))
            program.next_event()
    assert not dialled(trap)


def test_nor_does_a_registered_object_get_one(tmp_path, trap):
    """The operator's own code runs in the server: it is given no proxy that could dial."""
    server = Attacked(tmp_path / "server", ("--register", "tests.stdlib.shop:Till"))
    server.more = {"PYTHONPATH": str(ROOT)}
    server.start()
    try:
        stock = Stock(server)
        till = stock.create("Till")
        with unharmed(server):
            for address in addresses(trap):
                for evil in forged(address, till):
                    reply = stock.ask(request(till, "sell", evil))
                    assert reply is None or reply[0] != "#RETURN"
        stock.close()
    finally:
        server.stop()
    assert not dialled(trap)


def test_a_stock_client_that_reads_one_back_dials_the_server(server, trap):
    """What was stored with another address is given out with the one at which the reader dialled."""
    stock = Stock(server)
    lst, box = stock.create("list"), stock.create("list")
    evil = forged(addresses(trap)[0], box)[1]
    stock.ask(request(lst, "append", evil))
    reply = stock.ask(request(lst, "__getitem__", b"K\x00"))
    written = symbolic.dump(reply, face=symbolic.Stock(server.where, {}))
    assert str(trap.getsockname()[1]).encode() not in written
    assert trap.getsockname()[1].to_bytes(2, "little") not in written
    assert not dialled(trap)
    stock.close()
