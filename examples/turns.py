"""A Lock: processes add to one shared number, and none of what they add is lost.

    python examples/turns.py                            this machine, server and workers included
    MPSERVE_ADDRESS=host:7707 python examples/turns.py  a cluster's workers

Without the lock two processes would read the same number, and one of their additions would be overwritten.
"""

from __future__ import annotations

from typing import Any

import mpclient as multiprocessing


def add(lock: Any, total: Any, times: int) -> None:
    for _ in range(times):
        with lock:
            total.value = total.value + 1


def main() -> None:
    lock: Any = multiprocessing.Lock()
    total: Any = multiprocessing.Value("i", 0, lock=False)
    processes = [multiprocessing.Process(target=add, args=(lock, total, 50)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print(f"4 processes added 50 each: {total.value}")


if __name__ == "__main__":
    main()
