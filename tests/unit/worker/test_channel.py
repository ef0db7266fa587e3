"""Messages between supervisor and worker process."""

from __future__ import annotations

import os
import socket
from collections import deque

from mpclient.worker.channel import Channel, packed


def pair() -> tuple[Channel, Channel]:
    left, right = socket.socketpair()
    return Channel(left), Channel(right)


def test_messages_arrive_whole_and_in_order():
    left, right = pair()
    left.send("begin", key=b"\0\xff", processes=2, text="é")
    left.send("stop")
    assert right.receive_first() == {"kind": "begin", "key": b"\0\xff", "processes": 2, "text": "é"}
    assert right.early == [{"kind": "stop"}]
    left.send("quit")
    assert right.receive() == [{"kind": "quit"}]
    left.close()
    right.close()


def test_descriptors_come_with_their_message():
    ours, theirs = socket.socketpair()
    handed: deque[int] = deque()
    left, right = Channel(ours), Channel(theirs, handed)
    reading, writing = os.pipe()
    assert left.send_part(packed("worker", {}), [writing]) == b""
    os.close(writing)
    assert right.receive() == [{"kind": "worker"}]
    (got,) = handed
    assert not os.get_inheritable(got)
    os.close(got)
    assert os.read(reading, 1) == b""  # there was no other
    os.close(reading)
    right.close()
    assert left.send_part(b"nobody reads this", [left.fileno()]) == b""
    left.close()


def test_nothing_waits_for_room():
    left, right = pair()
    data = packed("wrote", {"data": bytes(1 << 22)})
    rest = left.send_part(data)
    assert 0 < len(rest) < len(data)
    assert left.send_part(rest) == rest
    while rest:
        assert right.receive() == []
        rest = left.send_part(rest)
    assert right.receive_first() == {"kind": "wrote", "data": bytes(1 << 22)}
    left.close()
    right.close()


def test_the_end_of_the_other_side():
    left, right = pair()
    left.close()
    assert right.receive_first() is None
    assert right.receive() is None
    assert right.send("log") is False
    right.close()


def test_nothing_to_receive_without_waiting():
    left, right = pair()
    right.set_blocking(False)
    assert right.receive() == []
    left.close()
    right.close()
