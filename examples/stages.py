"""A Condition: second-stage processes wait until the first stage is done, then all of them go on.

python examples/stages.py                            this machine, server and workers included
MPSERVE_ADDRESS=host:7707 python examples/stages.py  a cluster's workers
"""

from __future__ import annotations

from typing import Any

import mpclient as multiprocessing


def first_stage(ready: Any, state: Any) -> None:
    with ready:
        print("first stage: done, the others may go on")
        state["done"] = True
        ready.notify_all()


def second_stage(number: int, ready: Any, state: Any) -> None:
    with ready:
        ready.wait_for(lambda: state["done"])
        state[number] = f"second stage {number}: runs"


def main() -> None:
    with multiprocessing.Manager() as manager:
        ready: Any = multiprocessing.Condition()
        state = manager.dict(done=False)
        seconds = [
            multiprocessing.Process(target=second_stage, args=(number, ready, state)) for number in (1, 2, 3)
        ]
        for process in seconds:
            process.start()
        first = multiprocessing.Process(target=first_stage, args=(ready, state))
        first.start()
        for process in (first, *seconds):
            process.join()
        for number in (1, 2, 3):
            print(state[number])


if __name__ == "__main__":
    main()
