"""Signalling with an Event: one process waits as long as it takes, another only for a moment.

python examples/signalling.py                            this machine, server and workers included
MPSERVE_ADDRESS=host:7707 python examples/signalling.py  a cluster's workers
"""

from __future__ import annotations

from typing import Any

import mpclient as multiprocessing


def wait_for_it(go: Any, report: Any) -> None:
    report.put("patient: waits")
    report.put(f"patient: the event is set: {go.wait()}")


def wait_a_moment(go: Any, report: Any) -> None:
    report.put(f"hasty: the event is set: {go.wait(0.05)}")


def main() -> None:
    go: Any = multiprocessing.Event()
    report: Any = multiprocessing.Queue()
    patient = multiprocessing.Process(target=wait_for_it, args=(go, report))
    hasty = multiprocessing.Process(target=wait_a_moment, args=(go, report))
    patient.start()
    print(report.get())
    hasty.start()
    print(report.get())
    go.set()
    print(report.get())
    patient.join()
    hasty.join()


if __name__ == "__main__":
    main()
