"""Headers that lie, before and after authentication, in both protocols: nobody allocates or waits for them.

What the decoders make of each lie is tested in `tests/unit/wire` (`test_frames.py`, `test_framing.py`,
`test_pack.py`), and with random damage in `tests/property/test_wire_fuzz.py`; the limit of a message in
`tests/integration/test_protocol.py`.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from multiprocessing import connection
from typing import Any

import pytest
from tests.integration.raw import WAIT_S
from tests.security.attackers import Attacked, request, text, unharmed
from tests.unit.net.stage import Closed, RawClient

from mpshared.values import PickledKey
from mpshared.wire.framing import join_frame
from mpshared.wire.handshake import CHALLENGE, OWN, WELCOME
from mpshared.wire.own.frames import Failed, Type
from mpshared.wire.own.pack import pack

MOST_U32, MOST_U64 = (1 << 32) - 1, (1 << 64) - 1
HELLO = {"versions": [1, 1], "nonce": bytes(32)}


def own_header(
    size: int = 0, kind: int = 1, flags: int = 0, op: int = 1, number: int = 1, head_size: int = 0
) -> bytes:
    return struct.pack("!IBBHIQQI", size, kind, flags, op, 0, number, 0, head_size)


# -- strangers -------------------------------------------------------------------------------------------

STRANGERS = {
    "nothing": b"",
    "the largest length": b"\x7f\xff\xff\xff",
    "a length of 257": struct.pack("!i", 257),
    "a negative length": b"\x80\x00\x00\x00",
    "a long length": b"\xff\xff\xff\xff" + struct.pack("!Q", MOST_U64),
    "a long length that is short": b"\xff\xff\xff\xff" + struct.pack("!Q", 5) + b"hello",
    "a kilobyte of empty frames": bytes(4) * 300,
    "a megabyte": b"\x00\x00\x01\x00" + b"x" * (1 << 20),
    "a frame of our own": own_header(size=MOST_U32, head_size=MOST_U32),
    "a call before authentication": own_header(size=5, head_size=5) + pack(["", [], []]),
    "a hello that nests": join_frame(OWN + b"\x91" * 240),
    "a hello that promises four Gi elements": join_frame(OWN + b"\xdd\xff\xff\xff\xff"),
    "a hello that promises four Gi of map": join_frame(OWN + b"\xdf\xff\xff\xff\xff" * 20),
    "a hello that promises a long text": join_frame(OWN + b"\xdb\xff\xff\xff\xff"),
    "a hello with a pickle": join_frame(OWN + pack({**HELLO, "versions": PickledKey(b"cos\nsystem\n.")})),
    "a proof of nothing": join_frame(OWN + pack(HELLO)) + join_frame(bytes(32)),
    "proofs one after the other": join_frame(OWN + pack(HELLO)) + join_frame(bytes(32)) * 20,
    "an answer of zeros": join_frame(b"{sha256}" + bytes(32)),
    "an empty answer": join_frame(b""),
    "an answer in MD5": join_frame(bytes(16)),
    "a challenge instead of an answer": join_frame(CHALLENGE + b"{sha256}" + bytes(40)),
    "a welcome": join_frame(WELCOME) * 3,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 10,
}


def dial(server: Attacked) -> socket.socket:
    return socket.create_connection(server.where, WAIT_S)


def rest(sock: socket.socket) -> bytes:
    """Read to the end, for which the server has some seconds."""
    data = b""
    with suppress(ConnectionResetError):
        while piece := sock.recv(1 << 16):
            data += piece
    return data


def test_lies_of_strangers_cost_nothing_and_tell_them_nothing(server):
    with unharmed(server, grows_bytes=32 << 20):
        for _ in range(5):
            for name, said in STRANGERS.items():
                with dial(server) as sock:
                    with suppress(ConnectionError):  # it may be closed before it has taken a megabyte
                        sock.sendall(said)
                        sock.shutdown(socket.SHUT_WR)
                    told = rest(sock)
                    assert len(told) < 512, name
                    assert b"Traceback" not in told, name
                    assert b"File" not in told, name


# -- who has the key ----------------------------------------------------------------------------------------

TELLING = [Type.REPLY, Type.ERROR, Type.ATTACHED]
OWN_LIES = {
    "the largest size": own_header(size=MOST_U32, head_size=10),
    "a head larger than the frame": own_header(size=10, head_size=11) + bytes(10),
    "the largest head": own_header(size=100, head_size=MOST_U32) + bytes(100),
    "an unknown type": own_header(size=1, kind=99, head_size=1) + b"\xc0",
    "type nought": own_header(size=1, kind=0, head_size=1) + b"\xc0",
    "flags": own_header(size=1, flags=1, head_size=1) + b"\xc0",
    "no head": own_header(),
    "a head of nothing": own_header(size=1, head_size=1) + b"\xc0",
    "a head that is cut": own_header(size=1, head_size=1) + b"\x93",
    "a head that nests": own_header(size=5000, head_size=5000) + b"\x91" * 5000,
    "a head that promises four Gi": own_header(size=5, head_size=5) + b"\xdd\xff\xff\xff\xff",
    "a long head of promises": own_header(size=5 << 10, head_size=5 << 10) + b"\xdd\xff\xff\xff\xff" * 1024,
    "a promise of four Gi of map": own_header(size=5, head_size=5) + b"\xdf\xff\xff\xff\xff",
    "sizes beyond the payload": own_header(size=13, head_size=13) + b"\x93\xa0\x90\x91\xcf" + b"\x7f" * 8,
    "a negative size": own_header(size=5, head_size=5) + b"\x93\xa0\x90\x91\xff",
    "values that overlap": own_header(size=10, head_size=6) + b"\x93\xa0\x90\x92\x04\x04" + bytes(4),
    "a payload of nobody": own_header(size=8, head_size=4) + b"\x93\xa0\x90\x90" + bytes(4),
    "an unknown extension": own_header(size=7, head_size=7) + b"\x93\xa0\x91\xd4\x07\x00\x90",
    "an unknown operation": own_header(size=4, op=0xFFFF, head_size=4) + b"\x93\xa0\x90\x90",
    **{f"a {kind.name}": own_header(kind=kind, size=1, head_size=1) + b"\xc0" for kind in TELLING},
}  # fmt: skip


@pytest.mark.parametrize("attached", [False, True], ids=["before ATTACH", "after"])
def test_lies_of_who_has_the_key_cost_nothing_and_end_the_connection(server, raw, attached):
    with unharmed(server, grows_bytes=48 << 20):
        for name, said in OWN_LIES.items():
            client = raw.client().shake_hands()
            if attached:
                client.attach_new()
            client.send(said)
            event = client.next_event()
            assert isinstance(event, Failed), name
            if event.number == 0:
                ends(client)
            else:
                assert event.code in {"not_supported", "bad_value"}, name


def ends(client: RawClient) -> None:
    with pytest.raises((Closed, ConnectionResetError)):
        while True:
            client.next_event()


def write(conn: connection.Connection[Any, Any], data: bytes) -> None:
    os.write(conn.fileno(), data)


STOCK_LIES = {
    "the largest length": b"\x7f\xff\xff\xff",
    "a negative length": b"\xff\xff\xff\xfe",
    "a long length": b"\xff\xff\xff\xff" + struct.pack("!Q", MOST_U64),
    "a length over the limit": struct.pack("!i", (256 << 20) + 1),
}


def test_lies_of_stock_clients_cost_nothing(server):
    with unharmed(server, grows_bytes=48 << 20):
        for _ in range(5):
            for said in STOCK_LIES.values():
                conn = connection.Client(server.where, authkey=server.key.encode())
                write(conn, said)
                with pytest.raises((EOFError, ConnectionResetError)):
                    conn.recv_bytes()
                conn.close()


def test_what_is_announced_and_does_not_come_takes_no_room(server, raw):
    """A quarter of a gigabyte is announced by each of many, and a little of it sent."""
    with unharmed(server, grows_bytes=48 << 20):
        liars = [raw.program() for _ in range(50)]
        for client in liars:
            client.send(own_header(size=250 << 20, head_size=4) + b"\x93\xa0\x90\x90" + bytes(1000))
        conns = [connection.Client(server.where, authkey=server.key.encode()) for _ in range(50)]
        for conn in conns:
            write(conn, struct.pack("!i", 250 << 20) + request("", "create", text("list"))[:20])
        assert raw.program().call("cluster.count").result >= 0
        for conn in conns:
            conn.close()
