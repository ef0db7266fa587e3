"""A workshop: everything at once. Smiths forge what is ordered, an inspector checks the ledger.

    python examples/workshop.py                            this machine, server and workers included
    MPSERVE_ADDRESS=host:7707 python examples/workshop.py  a cluster's workers

Process subclasses, a JoinableQueue with pills, an Event, a Condition, a Semaphore, a Manager's dict and list,
and a Pool. With `import multiprocessing` as its one import it prints the same.
"""

from __future__ import annotations

from typing import Any

import mpclient as multiprocessing

SMITHS = 3
ORDERS = {"nail": 12, "hinge": 5, "lock": 3, "gate": 1}
MINUTES = {"nail": 1, "hinge": 4, "lock": 9, "gate": 60}


class Smith(multiprocessing.Process):
    """Forges pieces until there is a pill; needs a furnace for each."""

    def __init__(self, name: str, shop: dict[str, Any]) -> None:
        super().__init__(name=name)
        self.shop = shop

    def run(self) -> None:
        """Work, once the shop is open."""
        orders, ledger = self.shop["orders"], self.shop["ledger"]
        self.shop["open"].wait()
        while (piece := orders.get()) is not None:
            with self.shop["furnaces"]:
                minutes = MINUTES[piece]
            with self.shop["news"]:
                ledger[piece] = ledger.get(piece, 0) + 1
                self.shop["log"].append((self.name, piece, minutes))
                self.shop["news"].notify_all()
            orders.task_done()
        orders.task_done()


class Inspector(multiprocessing.Process):
    """Waits until the ledger shows all that was ordered."""

    def __init__(self, shop: dict[str, Any]) -> None:
        super().__init__(name="the inspector")
        self.shop = shop

    def run(self) -> None:
        """Look again whenever there is news."""
        with self.shop["news"]:
            done = self.shop["news"].wait_for(lambda: dict(self.shop["ledger"]) == ORDERS, timeout=60)
        verdict = "all is there" if done else f"missing: {self.shop['ledger']}"
        print(f"{multiprocessing.current_process().name}: {verdict}")
        if not done:
            raise SystemExit(3)


def price(piece: str, number: int) -> tuple[str, int]:
    """Return what some pieces cost."""
    return piece, number * (2 + MINUTES[piece])


def polish(piece: str) -> str:
    """Return a piece that shines; gates are too large."""
    if piece == "gate":
        raise ValueError("a gate does not fit into the polisher")
    return f"polished {piece}"


def main() -> None:
    with multiprocessing.Manager() as manager:
        shop: dict[str, Any] = {
            "orders": multiprocessing.JoinableQueue(),
            "open": multiprocessing.Event(),
            "furnaces": multiprocessing.Semaphore(2),
            "news": multiprocessing.Condition(),
            "ledger": manager.dict(),
            "log": manager.list(),
        }
        smiths = [Smith(f"smith {number}", shop) for number in range(1, SMITHS + 1)]
        inspector = Inspector(shop)
        for process in (*smiths, inspector):
            process.start()
        for piece, number in ORDERS.items():
            for _ in range(number):
                shop["orders"].put(piece)
        for _ in smiths:
            shop["orders"].put(None)
        shop["open"].set()
        shop["orders"].join()
        for process in (*smiths, inspector):
            process.join()
        print("exit codes:", [process.exitcode for process in (*smiths, inspector)])
        print("forged:", dict(sorted(shop["ledger"].items())))
        names = {name for name, _, _ in shop["log"]}
        print(
            "minutes:",
            sum(minutes for _, _, minutes in shop["log"]),
            "by smiths only:",
            names <= {s.name for s in smiths},
        )
    with multiprocessing.Pool(2) as pool:
        print("prices:", pool.starmap(price, sorted(ORDERS.items())))
        shining = [pool.apply_async(polish, (piece,)) for piece in sorted(ORDERS)]
        for result in shining:
            try:
                print(result.get(timeout=60))
            except ValueError as err:
                print("refused:", err)


if __name__ == "__main__":
    main()
