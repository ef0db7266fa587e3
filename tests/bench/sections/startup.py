"""Start-up: how long a program or a command takes until it does what it is for."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.bench.children import ChildError
from tests.bench.rows import Figures, Result, Row, Section, Target
from tests.bench.runner import Runner
from tests.bench.sides import Side, command, start_ours, start_workers
from tests.bench.tables import Column, figure, table, wanted

__all__ = ["SECTION"]

TIMES = 5  # in each round
IMPORT = "import time; begin = time.perf_counter(); import {}; print(time.perf_counter() - begin)"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartUp(Row):
    """What starts."""

    run: Callable[[Runner], float]
    sides: tuple[str, ...] = ("ours",)
    most_rounds: int = 3


def measure(runner: Runner, row: StartUp, _side: Side) -> Figures:
    """Return the median of some starts."""
    return {"ms": statistics.median(row.run(runner) for _ in range(TIMES)) * 1e3}


def _python(_runner: Runner) -> float:
    return _until_ended(sys.executable, "-c", "pass")


def _import(module: str) -> Callable[[Runner], float]:
    def run(_runner: Runner) -> float:
        done = subprocess.run([sys.executable, "-c", IMPORT.format(module)], capture_output=True, check=True)
        return float(done.stdout)

    return run


def _ping(runner: Runner) -> float:
    host, port = runner.server("ours")[1]
    return _until_ended(command("mpserve"), "ping", "--connect", f"{host}:{port}")


def _start(_runner: Runner) -> float:
    """Look at what it writes every 5 ms."""
    begin = time.perf_counter()
    server, _address = start_ours(every_s=0.005)
    took_s = time.perf_counter() - begin
    server.end()
    return took_s


def _first_job(runner: Runner) -> float:
    """Put a job, start the command, wait for the result."""
    address, name = runner.server("ours")[1], runner.name()
    [submitter] = runner.crew(1)
    begin = time.perf_counter()
    with start_workers(address, name, 1) as crew:
        where = {"station": "ours", "address": address}
        submitter.tell(do="submit", name=name, how="recipe", jobs=1, bytes=0, first=0, **where)
        submitter.hear(runner.settings.patience_s)
        took_s = time.perf_counter() - begin
        runner.ask(submitter, do="pills", name=name, count=1)
        crew.wait(10)
    runner.ask(submitter, do="leave")
    return took_s


def _until_ended(*words: str) -> float:
    begin = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise ChildError(f"{' '.join(words)} failed: {done.stderr.strip()}")
    return time.perf_counter() - begin


def _most(limit_ms: float) -> tuple[Target, ...]:
    return (Target("ours", "", limit_ms, key="ms", most=True, unit=" ms"),)


ROWS = (
    StartUp(title="`python -c pass`, to compare", run=_python),
    StartUp(title="`import multiprocessing.managers`, to compare", run=_import("multiprocessing.managers")),
    StartUp(title="`import mpclient`", run=_import("mpclient"), wanted=_most(60)),
    StartUp(title="`mpserve ping`", run=_ping),
    StartUp(title="`mpserve start` until it is ready", run=_start),
    StartUp(title="`mpworker` until its first job's result is there", run=_first_job, wanted=_most(700)),
)
COLUMNS = (Column("what", lambda result: result.row.title, right=False), figure("ms", "ours", "ms"), wanted())


def tables(results: Sequence[Result]) -> list[str]:
    """Return the one table."""
    return [f"Medians of {TIMES} in each round.", "", *table(results, COLUMNS)]


SECTION = Section("startup", "Start-up", ROWS, measure, tables)
