"""Be one client process of the bench: a line of standard input says what to do, a line answers it.

    {"do": "prepare", "station": "stock", "address": […], "work": "dict", "name": "bench-7", "index": 0}
    {"do": "go", "seconds": 0.5}           → {"count": …, "seconds": …, "p50_us": …, "p99_us": …}
    {"do": "submit", "station": …, "address": …, "name": …, "how": "recipe", "jobs": 9, "bytes": 0} → same
    {"do": "jobs", "station": …, "address": …, "work": "imap", "jobs": 9}    small jobs of a pool → same
    {"do": "ask"}                    the prepared calls, once → {"answer": …}
    {"do": "load", "kind": "items", "name": …, "count": 9}     has the server hold as many things more → same
    {"do": "watch"}          goes on with the prepared pair in a thread; {"do": "watched"} → {"longest_ms": …}
    {"do": "pills", "name": …, "count": 2}                       stops workers
    {"do": "work", "station": …, "address": …, "name": …}        works until a pill; two answers: begun, done
    {"do": "hold", "station": …, "address": …, "count": 50}    opens idle clients; {"do": "drop"} closes them

Rules:
- What can be set up beforehand is, in `prepare`; `go` measures nothing but the calls.
- A failure is answered as `{"error": "Type: text"}`, never hidden; the process goes on to the next line.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.bench.stations import Station, open_station

__all__ = ["Driver"]

ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what a package prints is no answer
Answer = dict[str, Any]


class Driver:
    """Keep what is prepared and held between two lines."""

    def __init__(self) -> None:
        self.pair: Callable[[], object] | None = None
        self.station: Station | None = None
        self.held: list[Any] = []
        self.watching: Watch | None = None

    def obey(self, order: Answer) -> Answer:
        """Do what a line says; a failure is told to whoever gave the order."""
        try:
            return getattr(self, order["do"])(order)  # type: ignore[no-any-return]
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def prepare(self, order: Answer) -> Answer:
        """Connect, and find or make the object."""
        self.leave()
        self.station = open_station(order["station"], tuple(order["address"]))
        self.pair = self.station.pair(order["work"], order["name"], order["index"])
        self.pair()
        return {"ready": True}

    def go(self, order: Answer) -> Answer:
        """Repeat the prepared pair of calls for so many seconds."""
        assert self.pair is not None, "go without prepare"
        pair, seconds, took = self.pair, order["seconds"], []
        begin = before = time.perf_counter()
        while before - begin < seconds:
            pair()
            now = time.perf_counter()
            took.append(now - before)
            before = now
        return figures(len(took), before - begin, took)

    def ask(self, _order: Answer) -> Answer:
        """Do the prepared calls once, and tell what they answer."""
        assert self.pair is not None, "ask without prepare"
        return {"answer": self.pair()}

    def load(self, order: Answer) -> Answer:
        """Have the server hold more."""
        assert self.station is not None, "load without prepare"
        begin = time.perf_counter()
        self.station.load(order["kind"], order["name"], order["count"])
        return figures(order["count"], time.perf_counter() - begin, [])

    def watch(self, _order: Answer) -> Answer:
        """Go on with the prepared pair while others work."""
        assert self.pair is not None, "watch without prepare"
        self.watching = Watch(self.pair)
        return {"watching": True}

    def watched(self, _order: Answer) -> Answer:
        """Stop, and tell what was the longest that a pair took."""
        assert self.watching is not None, "watched without watch"
        return {"longest_ms": self.watching.stop() * 1e3}

    def submit(self, order: Answer) -> Answer:
        """Send jobs and read all their results."""
        self.leave()
        self.station = open_station(order["station"], tuple(order["address"]))
        submit = self.station.submit(order["how"], order["name"], order["bytes"])
        if order.get("first", 16):
            self.station.await_workers()
        for _ in range(3 if order.get("first", 16) else 0):
            submit(order.get("first", 16))  # their imports are done
        begin = time.perf_counter()
        took = submit(order["jobs"])
        return figures(order["jobs"], time.perf_counter() - begin, took)

    def jobs(self, order: Answer) -> Answer:
        """Have small jobs done by a pool or an executor."""
        self.leave()
        self.station = open_station(order["station"], tuple(order["address"]))
        run = self.station.jobs(order["work"])
        self.station.await_workers()
        for _ in range(3):
            run(order.get("first", 100))  # their imports are done
        begin = time.perf_counter()
        took = run(order["jobs"])
        return figures(order["jobs"], time.perf_counter() - begin, took)

    def pills(self, order: Answer) -> Answer:
        """Stop the workers of the recipe that was submitted last."""
        assert self.station is not None, "pills without submit"
        self.station.pills(order["name"], order["count"])
        return {"sent": order["count"]}

    def work(self, order: Answer) -> Answer:
        """Be a worker of the recipe until the pill."""
        self.leave()
        self.station = open_station(order["station"], tuple(order["address"]))
        say({"ready": True})
        return {"done": self.station.work(order["name"])}

    def hold(self, order: Answer) -> Answer:
        """Open idle clients and keep them."""
        station = open_station(order["station"], tuple(order["address"]))
        for _ in range(order["count"]):
            self.held.append(station.idle())
        return {"held": len(self.held)}

    def drop(self, _order: Answer) -> Answer:
        """Close the idle clients."""
        while self.held:
            self.held.pop().close()
        return {"held": 0}

    def leave(self, _order: Answer | None = None) -> Answer:
        """Let go of what was prepared."""
        station, self.station, self.pair = self.station, None, None
        if station is not None:
            station.close()
        return {"left": True}


class Watch(threading.Thread):
    """Repeats a pair of calls, with a short rest after each."""

    def __init__(self, pair: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._pair = pair
        self._over = threading.Event()
        self._longest_s = 0.0
        self._ready = threading.Event()
        self.start()
        self._ready.wait(10)

    def run(self) -> None:
        """Note the longest of all pairs but the first: it dials."""
        self._pair()
        self._ready.set()
        while not self._over.wait(0.001):
            begin = time.perf_counter()
            self._pair()
            self._longest_s = max(self._longest_s, time.perf_counter() - begin)

    def stop(self) -> float:
        """Return how many seconds the longest pair took."""
        self._over.set()
        self.join(60)
        return self._longest_s


def figures(count: int, seconds: float, took: list[float]) -> Answer:
    """Return what was counted; latencies in microseconds where single calls were timed."""
    answer: Answer = {"count": count, "seconds": seconds}
    if took:
        took.sort()
        answer |= {"p50_us": statistics.median(took) * 1e6, "p99_us": took[len(took) * 99 // 100] * 1e6}
        answer["longest_us"] = took[-1] * 1e6
    return answer


def say(answer: Answer) -> None:
    """Answer a line."""
    print(json.dumps(answer), file=ANSWERS, flush=True)


def main() -> None:
    """Do what each line says."""
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(143))
    driver = Driver()
    try:
        for line in sys.stdin:
            say(driver.obey(json.loads(line)))
    finally:
        driver.leave()


if __name__ == "__main__":
    main()
