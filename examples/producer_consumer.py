"""Producer and consumers over a JoinableQueue, stopped by pills: the standard library's recipe, on many
machines.

    python examples/producer_consumer.py                            this machine, server and workers included
    MPSERVE_ADDRESS=host:7707 python examples/producer_consumer.py  a cluster's workers

The consumers are `mpworker`'s processes: each takes a callable off the queue "tasks", calls it, and puts what
it returned on the queue "results", until it meets its pill (None). On a cluster the pills really stop the
workers.
"""

from __future__ import annotations

import mpclient


class Multiply:
    """A task: called without arguments where a worker finds it."""

    def __init__(self, a: int, b: int) -> None:
        self.a = a
        self.b = b

    def __call__(self) -> str:
        """Do the task."""
        return f"{self.a} * {self.b} = {self.a * self.b}"


def main() -> None:
    with mpclient.connect() as cluster:
        tasks = cluster.JoinableQueue(name="tasks")
        results = cluster.Queue(name="results")
        consumers = cluster.cpu_count()
        print(f"{consumers} consumers")

        jobs = 10
        for i in range(jobs):
            tasks.put(Multiply(i, i))
        for _ in range(consumers):
            tasks.put(None)

        tasks.join()
        for _ in range(jobs):
            print("Result:", results.get(timeout=30))


if __name__ == "__main__":
    main()
