"""Consumers that are processes of their own: a JoinableQueue of tasks, a queue of answers, a pill for each.

    python examples/consumers.py                            this machine, server and workers included
    MPSERVE_ADDRESS=host:7707 python examples/consumers.py  a cluster's workers

`producer_consumer.py` is the same with `mpworker`'s own processes as consumers.
"""

from __future__ import annotations

from typing import Any

import mpclient as multiprocessing


class Consumer(multiprocessing.Process):
    """Runs tasks until it is given a pill."""

    def __init__(self, tasks: Any, answers: Any) -> None:
        super().__init__()
        self.tasks = tasks
        self.answers = answers

    def run(self) -> None:
        """Take, do, report, acknowledge."""
        while (task := self.tasks.get()) is not None:
            self.answers.put((self.name, task()))
            self.tasks.task_done()
        self.tasks.task_done()
        print(f"{self.name}: done")


class Square:
    """A task."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self) -> str:
        """Do it."""
        return f"{self.side} squared is {self.side**2}"


def main() -> None:
    tasks: Any = multiprocessing.JoinableQueue()
    answers: Any = multiprocessing.Queue()
    consumers = [Consumer(tasks, answers) for _ in range(multiprocessing.cpu_count())]
    for consumer in consumers:
        consumer.start()
    for side in range(10):
        tasks.put(Square(side))
    for _ in consumers:
        tasks.put(None)
    tasks.join()
    for consumer in consumers:
        consumer.join()
    for text in sorted(text for _, text in (answers.get() for _ in range(10))):
        print(text)


if __name__ == "__main__":
    main()
