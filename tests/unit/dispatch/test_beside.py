"""Work beside the loop: in one thread, in order, and its rest in the loop."""

from __future__ import annotations

import queue
import sys
import threading

from mpserve.dispatch.beside import SLICE_S, AtOnce, Beside


def test_work_is_done_in_one_thread_and_its_rest_where_the_loop_is():
    loop: queue.SimpleQueue = queue.SimpleQueue()
    beside, done = Beside(loop.put), []
    for n in range(20):

        def work(n=n):
            worker = threading.current_thread(), sys.getswitchinterval()
            return lambda: done.append((n, *worker, threading.current_thread()))

        beside.run(work)
    for _ in range(20):
        loop.get(timeout=10)()
    beside.close()
    numbers, workers, slices, callers = zip(*done, strict=True)
    assert numbers == tuple(range(20))
    assert len({*workers}) == 1
    assert {*callers} == {threading.current_thread()} != {*workers}
    assert max(slices) <= 2 * SLICE_S
    workers[0].join(10)
    assert not workers[0].is_alive()


def test_without_a_loop_all_of_it_is_done_at_once():
    done = []
    AtOnce().run(lambda: lambda: done.append(1))
    assert done == [1]
