"""Count the words of the Python standard library: one job for some source files, on all workers there are.

    python examples/wordcount.py                                this machine, server and workers included
    MPSERVE_ADDRESS=host:7707 python examples/wordcount.py      a cluster's workers

Each job carries the files' texts, so workers need no files. The total is compared with a count that this
process makes alone.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import mpclient

BATCH = 16
FILES = 8
PATIENCE_S = 60.0


def count_words(texts: list[str]) -> tuple[str, int, Counter[str]]:
    """Do one job: return who did it, how many texts it had, and their words."""
    words: Counter[str] = Counter()
    for text in texts:
        words.update(re.findall(r"[A-Za-z_]+", text.lower()))
    return f"{socket.gethostname()}:{os.getpid()}", len(texts), words


def sources(limit: int | None) -> list[str]:
    """Return the text of every source file of the standard library."""
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(p for p in root.rglob("*.py") if not {"site-packages", "dist-packages"} & set(p.parts))
    return [p.read_text(encoding="utf-8", errors="replace") for p in files[:limit]]


def batches(texts: list[str]) -> Iterator[list[partial[tuple[str, int, Counter[str]]]]]:
    """Yield the jobs, some at a time."""
    jobs = (partial(count_words, texts[first : first + FILES]) for first in range(0, len(texts), FILES))
    while batch := list(islice(jobs, BATCH)):
        yield batch


def count_on_cluster(texts: list[str], progress: Progress) -> tuple[Counter[str], Counter[str], float]:
    """Return the words, the jobs of each worker, and how many seconds it took."""
    words: Counter[str] = Counter()
    per_worker: Counter[str] = Counter()
    with mpclient.connect() as cluster:
        tasks = cluster.JoinableQueue(name="tasks")
        results = cluster.Queue(name="results")
        results.clear()  # what somebody before us left behind
        slots = cluster.cpu_count()
        bar = progress.add_task(f"{slots} worker processes", total=len(texts))
        started_s = time.perf_counter()

        def merge(answers: list[Any]) -> None:
            for answer in answers:
                if isinstance(answer, mpclient.TaskError):
                    raise answer
                who, files, counted = answer
                words.update(counted)
                per_worker[who] += files
                progress.advance(bar, files)

        for batch in batches(texts):
            tasks.put_many(batch)
            if results.qsize():
                merge(results.get_many(BATCH))
        while per_worker.total() < len(texts):
            merge(results.get_many(BATCH, timeout=PATIENCE_S))
        tasks.join()
        return words, per_worker, time.perf_counter() - started_s


def count_here(texts: list[str]) -> tuple[Counter[str], float]:
    """Return the words counted in this process alone, and how many seconds it took."""
    started_s = time.perf_counter()
    words = count_words(texts)[2]
    return words, time.perf_counter() - started_s


def report(
    words: Counter[str], per_worker: Counter[str], texts: list[str], took_s: float, here_s: float
) -> None:
    """Print the commonest words, and who counted."""
    console = Console(highlight=False)
    console.print("\nThe 20 commonest words:")
    console.print(columns((f"{times:,}", word) for word, times in words.most_common(20)))
    console.print("\nFiles counted by each worker process:")
    console.print(columns((f"{files:,}", who) for who, files in per_worker.most_common()))
    size = sum(map(len, texts)) / 1e6
    console.print(f"\n{len(texts):,} files, {size:.1f} MB, {words.total():,} words")
    console.print(f"cluster: {took_s:.2f} s, {len(texts) / took_s:,.0f} files/s")
    console.print(f"this process alone: {here_s:.2f} s")


def columns(rows: Iterable[tuple[str, str]]) -> Table:
    """Return a number and a name a line."""
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", min_width=9)
    for row in rows:
        table.add_row(*row)
    return table


def main() -> int:
    """Count twice and compare."""
    parser = argparse.ArgumentParser(
        description="Count the words of the Python standard library on all workers."
    )
    parser.add_argument("--limit", type=int, help="only so many files")
    limit = parser.parse_args().limit
    texts = sources(limit)
    parts = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*parts) as progress:
        words, per_worker, took_s = count_on_cluster(texts, progress)
    alone, here_s = count_here(texts)
    report(words, per_worker, texts, took_s, here_s)
    if words != alone:
        print("the cluster's count differs from this process's", file=sys.stderr)
        return 1
    print("Both counts are the same.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
