"""A program that sends proxies to child processes. Works on every Python from 3.8.

python -m tests.stdlib.children HOST PORT METHOD ...     (key: MPSERVE_AUTHKEY)
"""

import multiprocessing
import os
import sys

from tests.stdlib.steps import Manager

WAIT_S = 30


def work(number, tasks, results, lock, found, counts, ready, event):
    """Do what programs do with proxies that they were given."""
    ready.put(number)
    assert event.wait(WAIT_S)
    while True:
        task = tasks.get(timeout=WAIT_S)
        if task is None:
            break
        with lock:
            counts["all"] = counts["all"] + 1
        found.append((number, task))
        results.put({"task": task, "list": found})
        tasks.task_done()
    tasks.task_done()


def take(lock):
    """Exit while holding a lock."""
    lock.acquire()


def meet(barrier, condition, places, seats):
    """Wait for the others, then in line."""
    seats.append(barrier.wait(WAIT_S))
    with condition:
        places.append(len(places))
        condition.notify_all()
        assert condition.wait_for(lambda: len(places) == 2, WAIT_S)


def run(context, target, *args):
    """Start a child."""
    process = context.Process(target=target, args=args)
    process.start()
    return process


def finish(*processes):
    """See that children end well."""
    for process in processes:
        process.join(WAIT_S)
        assert process.exitcode == 0, process.exitcode


def check(manager, context):
    """Do it all with one way to start processes."""
    tasks, results, ready = manager.JoinableQueue(), manager.Queue(), manager.Queue()
    lock, event = manager.Lock(), manager.Event()
    found, counts = manager.list(), manager.dict(all=0)
    held = manager.Lock()
    barrier, condition = manager.Barrier(2), manager.Condition()
    places, seats = manager.list(), manager.list()
    workers = [
        run(context, work, number, tasks, results, lock, found, counts, ready, event) for number in range(2)
    ]
    others = [run(context, meet, barrier, condition, places, seats) for _ in range(2)]
    others.append(run(context, take, held))
    assert sorted(ready.get(timeout=WAIT_S) for _ in workers) == [0, 1]
    for task in range(10):
        tasks.put(task)
    for _ in workers:
        tasks.put(None)
    event.set()
    tasks.join()
    finish(*workers, *others)
    assert counts["all"] == 10
    assert sorted(task for _, task in found) == list(range(10))
    got = [results.get(timeout=WAIT_S) for _ in range(10)]
    assert sorted(each["task"] for each in got) == list(range(10))
    assert all(len(each["list"]) == 10 for each in got)
    assert sorted(seats) == [0, 1]
    assert list(places) == [0, 1]
    assert held.acquire(False) is False  # a child took it, and is gone
    held.release()
    assert held.acquire(False) is True


def main(host, port, *methods):
    """Connect and check."""
    key = os.environ["MPSERVE_AUTHKEY"].encode()
    multiprocessing.current_process().authkey = key
    manager = Manager((host, int(port)), key)
    manager.connect()
    for method in methods:
        check(manager, multiprocessing.get_context(method))
        print("ok", method, flush=True)  # noqa: T201 - says how far it came


if __name__ == "__main__":
    main(*sys.argv[1:])
