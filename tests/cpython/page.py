"""docs/reference/cpython-tests.md: what came of CPython's own tests, by Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tests.cpython.left_out import LEFT_OUT, LINES, Left, Line

__all__ = ["PAGE", "make_page", "row_of", "row_of_line", "stale"]

PAGE = Path(__file__).parents[2] / "docs/reference/cpython-tests.md"

_HEAD = """# CPython's own tests

<!-- Made by scripts/cpython-tests. Change the tables in tests/cpython/left_out.py instead. -->

Python comes with the tests that its `multiprocessing` has to pass. `scripts/cpython-tests` runs those of
each installed Python, with one difference: where they import `multiprocessing`, or a module of it, they get
`mpclient`. They run on a real server with four worker processes, by the start method `spawn`. This page is
written only when every test that is not left out has passed, or has skipped itself: because it is for another
system, for another start method, or not for managers.

"""
_LEFT_OUT = """
## What is left out

| why | tests | {pythons} |
| --- | --- | {lines} |
"""
_LINES = """
Of tests that are otherwise run, these lines are changed:

| line | reads here | why |
| --- | --- | --- |
"""


def make_page(runs: Sequence[Any]) -> str:
    """Return the page for what `__main__` wrote of runs of all tests, one for each Python."""
    pythons = [run["python"] for run in runs]
    parts = [
        _HEAD,
        "| Python | tests | pass | skip themselves | are left out |\n| --- | --: | --: | --: | --: |\n",
    ]
    for run in runs:
        counts = Counter(verdict for _, verdict, _ in run["outcomes"])
        numbers = len(run["outcomes"]), counts["passed"], counts["skipped"], counts["left out"]
        parts.append(f"| {run['python']} | {' | '.join(map(str, numbers))} |\n")
    parts.append(_LEFT_OUT.format(pythons=" | ".join(pythons), lines=" | ".join("--:" for _ in pythons)))
    for left in LEFT_OUT:
        counts_of = [sum(why == left.why for _, _, why in run["outcomes"]) for run in runs]
        parts.append(f"{row_of(left)} {' | '.join(map(str, counts_of))} |\n")
    return "".join([*parts, _LINES, *(f"{row_of_line(line)}\n" for line in LINES)])


def row_of(left: Left) -> str:
    """Return the row of tests that are left out, up to the numbers."""
    return f"| {left.why} | {', '.join(f'`{name}`' for name in left.names)} |"


def row_of_line(line: Line) -> str:
    """Return the row of a line that is changed."""
    return f"| `{line.old}` | `{line.new}` | {line.why} |"


def stale(runs: Sequence[Any]) -> list[str]:
    """Return what is left out or changed, and is in none of the Pythons."""
    names = [name for run in runs for name, _, _ in run["outcomes"]]
    met = {old for run in runs for old in run["lines"]}
    patterns = [pattern for left in LEFT_OUT for pattern in left.names]
    return [
        *(pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in names)),
        *(line.old for line in LINES if line.old not in met),
    ]
