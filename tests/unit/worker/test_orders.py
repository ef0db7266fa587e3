"""Orders to a nursery that takes none for a while."""

from __future__ import annotations

import os
import socket
from collections import deque

import pytest

from mpclient.worker.channel import Channel
from mpclient.worker.host.orders import Orders

NAME = "n" * 1000


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    supervisor, nursery = Channel(ours), Channel(theirs, deque())
    yield supervisor, nursery
    supervisor.close()
    nursery.close()


def fill(orders):
    """Give orders until one waits; return how many."""
    given = 0
    while not orders:
        orders.give("start", process=given, name=NAME)
        given += 1
    return given


def test_they_wait_in_order(ends):
    supervisor, nursery = ends
    orders = Orders(supervisor)
    given = fill(orders)
    orders.give("dismiss", process=0)
    heard = []
    while len(heard) <= given:
        heard += nursery.receive() or []
        orders.send()
    assert [message["process"] for message in heard] == [*range(given), 0]
    assert not orders


def test_what_waits_is_not_taken_twice(ends):
    supervisor, _ = ends
    orders = Orders(supervisor)
    fill(orders)
    waiting = len(orders)
    for _ in range(1000):
        for number in (10, 12):
            orders.give("signal", process=0, number=number)
    assert len(orders) == waiting + 2


def test_what_was_ordered_last_comes_last(ends):
    supervisor, nursery = ends
    orders = Orders(supervisor)
    fill(orders)
    for number in (19, 18, 19):  # stopped, continued, stopped: it is to stay stopped
        orders.give("signal", process=0, number=number)
    heard = []
    while len(heard) < 2:
        heard += [message["number"] for message in nursery.receive() or [] if message["kind"] == "signal"]
        orders.send()
    assert heard == [18, 19]


def test_descriptors_do_not_wait(ends):
    supervisor, nursery = ends
    orders = Orders(supervisor)
    reading, writing = os.pipe()
    fill(orders)
    with pytest.raises(BlockingIOError):
        orders.hand_over([writing], "worker")
    while orders:
        nursery.receive()
        orders.send()
    orders.hand_over([writing], "worker")
    os.close(writing)
    os.close(reading)


def test_orders_to_nobody(ends):
    supervisor, nursery = ends
    orders = Orders(supervisor)
    nursery.close()
    for number in range(1000):
        orders.give("start", process=number, name=NAME)
    assert not orders
