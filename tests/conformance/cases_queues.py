"""Queues of `multiprocessing.queues`."""

from __future__ import annotations

import time

from tests.conformance.harness import case

LIMIT_S = 10.0


def arrived(queue):
    """Wait until the feeder thread of a buffered queue of the standard library has sent what was put."""
    deadline_s = time.monotonic() + LIMIT_S
    while queue.empty() and time.monotonic() < deadline_s:
        time.sleep(0.001)
    return queue


def put_all(queue, *items):
    for item in items:
        queue.put(item)
    return arrived(queue)


def putting_and_getting(queue):
    """Steps of a queue without a bound that is empty."""
    yield "empty()", queue.empty
    yield "put('a')", lambda: queue.put("a")
    yield "get()", lambda: queue.get()
    yield "put(obj='b', block=False)", lambda: queue.put(obj="b", block=False)
    yield "get(True, 5)", lambda: queue.get(True, 5)
    yield "put('c', True, 5)", lambda: queue.put("c", True, 5)
    yield "get(timeout=5)", lambda: queue.get(timeout=5)
    yield "put('d', True, -1)", lambda: queue.put("d", True, -1)
    arrived(queue)
    yield "get(True, -1)", lambda: queue.get(True, -1)
    yield "put_nowait('e')", lambda: queue.put_nowait("e")
    arrived(queue)
    yield "get_nowait()", lambda: queue.get_nowait()
    yield "put(None)", lambda: queue.put(None)
    arrived(queue)
    yield "empty() of one that is not", queue.empty
    yield "full()", queue.full
    yield "qsize()", queue.qsize
    yield "get(block=False)", lambda: queue.get(block=False)
    yield "get_nowait() of an empty one", queue.get_nowait
    yield "get(False) of an empty one", lambda: queue.get(False)
    yield "get(False, 5) of an empty one", lambda: queue.get(False, 5)
    yield "get(timeout=0.01) of an empty one", lambda: queue.get(timeout=0.01)
    yield "get(True, 0) of an empty one", lambda: queue.get(True, 0)
    yield "get(True, -1) of an empty one", lambda: queue.get(True, -1)
    yield "get(True, 'x')", lambda: queue.get(True, "x")
    yield "put()", lambda: queue.put()
    yield "get(1, 2, 3)", lambda: queue.get(1, 2, 3)


def with_a_bound(queue):
    """Steps of a queue with room for one item."""
    queue.put(1)
    arrived(queue)
    yield "full() of one that is", queue.full
    yield "put_nowait(2) of a full one", lambda: queue.put_nowait(2)
    yield "put(2, False) of a full one", lambda: queue.put(2, False)
    yield "put(2, True, 0.01) of a full one", lambda: queue.put(2, True, 0.01)
    yield "put(2, timeout=-1) of a full one", lambda: queue.put(2, timeout=-1)
    yield "put(2, True, 'x') of a full one", lambda: queue.put(2, True, "x")
    yield "get() of a full one", queue.get
    yield "full() of one that is not", queue.full


def closing(queue):
    yield "join_thread() of one that is open", queue.join_thread
    yield "close()", queue.close
    yield "close() again", queue.close
    yield "put('x') when it is closed", lambda: queue.put("x")
    yield "get(False) when it is closed", lambda: queue.get(False)
    yield "join_thread()", queue.join_thread


@case("multiprocessing.Queue()", of="queues.Queue")
def queue(side):
    yield from putting_and_getting(side.mp.Queue())
    yield from with_a_bound(side.mp.Queue(maxsize=1))
    yield from closing(side.mp.Queue())
    yield "Queue('x')", lambda: side.mp.Queue("x")
    yield "Queue(0)", lambda: side.mp.Queue(0).full()
    yield "Queue(-1)", lambda: side.mp.Queue(-1).full()
    abandoned = side.mp.Queue()
    yield "cancel_join_thread()", abandoned.cancel_join_thread
    yield from _reading(side, side.mp.Queue())
    yield "get() of many, in order", lambda: [put_all(abandoned, *range(50)).get() for _ in range(50)]


@case(
    "multiprocessing.JoinableQueue()",
    of="queues.JoinableQueue",
    notes={
        "get(), by a process that dies": "what it took and did not finish with `task_done` returns to the queue",
    },
)
def joinable_queue(side):
    yield from putting_and_getting(side.mp.JoinableQueue())
    yield from with_a_bound(side.mp.JoinableQueue(1))
    yield from closing(side.mp.JoinableQueue())
    queue = side.mp.JoinableQueue()
    yield "cancel_join_thread()", queue.cancel_join_thread
    yield "join()", queue.join
    yield "task_done() of an empty one", queue.task_done
    put_all(queue, 1, 2)
    queue.get()
    queue.get()
    yield "task_done()", queue.task_done
    yield "task_done() again", queue.task_done
    yield "task_done() too often", queue.task_done
    yield "join() when all is done", queue.join


def _reading(side, queue):
    """Steps of a queue's `_reader`, which programs wait for together with others."""
    wait, reader = side.modules["connection"].wait, queue._reader
    yield "_reader", lambda: queue._reader is reader
    yield "_reader.poll(0.01)", lambda: reader.poll(0.01)
    yield "_reader.fileno()", lambda: type(reader.fileno())
    yield "_reader, waited for", lambda: (queue.put(1), wait([reader], LIMIT_S) == [reader])
    yield "_reader.poll()", reader.poll
    yield "_reader.recv()", reader.recv


@case("multiprocessing.SimpleQueue()", of="queues.SimpleQueue")
def simple_queue(side):
    queue = side.mp.SimpleQueue()
    yield "empty()", queue.empty
    yield "put([1])", lambda: queue.put([1])
    yield "empty() of one that is not", queue.empty
    yield "get()", queue.get
    yield "put(obj=None)", lambda: queue.put(obj=None)
    yield "get() of None", queue.get
    yield "SimpleQueue(1)", lambda: side.mp.SimpleQueue(1)
    yield from _reading(side, queue)
    yield "close()", queue.close
    yield "close() again", queue.close
    yield "empty() when it is closed", queue.empty
    yield "put(1) when it is closed", lambda: queue.put(1)
