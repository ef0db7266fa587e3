"""One log file for processes anywhere: their records go through a queue, and this program writes them.

python examples/logfile.py                            this machine, server and workers included
MPSERVE_ADDRESS=host:7707 python examples/logfile.py  a cluster's workers
"""

from __future__ import annotations

import logging
import logging.handlers
from pathlib import Path
from typing import Any

import mpclient as multiprocessing

FILE = Path("logfile.log")


def work(records: Any, number: int) -> None:
    log = logging.getLogger(f"shop.till{number}")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(logging.handlers.QueueHandler(records))
    for price in (7, 0, 5):
        try:
            log.info("%d pieces for 35", 35 // price)
        except ZeroDivisionError:
            log.exception("no price")


def main() -> None:
    records: Any = multiprocessing.Queue()
    file = logging.FileHandler(FILE, mode="w")
    file.setFormatter(logging.Formatter("%(processName)s %(name)s %(levelname)s %(message)s"))
    listener = logging.handlers.QueueListener(records, file)
    listener.start()
    processes = [multiprocessing.Process(target=work, args=(records, number)) for number in (1, 2, 3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    listener.stop()
    file.close()
    for line in sorted(FILE.read_text().splitlines()):
        if line.startswith("Process"):
            print(line)
    FILE.unlink()


if __name__ == "__main__":
    main()
