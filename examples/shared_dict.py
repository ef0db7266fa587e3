"""A dict, a list and a namespace that all processes see, through a Manager.

python examples/shared_dict.py                            this machine, server and workers included
MPSERVE_ADDRESS=host:7707 python examples/shared_dict.py  a cluster's workers
"""

from __future__ import annotations

from typing import Any

import mpclient as multiprocessing


def work(number: int, squares: Any, names: Any, limits: Any) -> None:
    squares[number] = number * number
    names.append(multiprocessing.current_process().name)
    if number == limits.last:
        limits.seen = True


def main() -> None:
    with multiprocessing.Manager() as manager:
        squares = manager.dict()
        names = manager.list()
        limits: Any = manager.Namespace(last=4, seen=False)
        processes = [
            multiprocessing.Process(
                target=work, args=(number, squares, names, limits), name=f"worker {number}"
            )
            for number in range(5)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        print("squares:", dict(sorted(squares.items())))
        print("names:", sorted(names))
        print("the last one was seen:", limits.seen)


if __name__ == "__main__":
    main()
