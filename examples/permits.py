"""A Semaphore: of many processes only three at a time may be inside.

python examples/permits.py                            this machine, server and workers included
MPSERVE_ADDRESS=host:7707 python examples/permits.py  a cluster's workers
"""

from __future__ import annotations

from typing import Any

import mpclient as multiprocessing

PERMITS = 3


def visit(permits: Any, inside: Any, most: Any, lock: Any) -> None:
    with permits:
        with lock:
            inside.append(multiprocessing.current_process().name)
            most.value = max(most.value, len(inside))
        for _ in range(10):
            len(inside)  # look around
        with lock:
            inside.remove(multiprocessing.current_process().name)


def main() -> None:
    with multiprocessing.Manager() as manager:
        permits: Any = multiprocessing.Semaphore(PERMITS)
        lock: Any = multiprocessing.Lock()
        inside = manager.list()
        most: Any = manager.Value("i", 0)
        visitors = [
            multiprocessing.Process(
                target=visit, args=(permits, inside, most, lock), name=f"visitor {number}"
            )
            for number in range(8)
        ]
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join()
        print(f"{len(visitors)} visitors, never more than {PERMITS} inside: {most.value <= PERMITS}")
        print(f"now inside: {list(inside)}")


if __name__ == "__main__":
    main()
