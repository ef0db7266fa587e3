"""What scripts/cpython-tests runs: the tests in one Python, and the page about all of them.

python -m tests.cpython run RESULTS [PATTERN…]
python -m tests.cpython page RESULTS…
"""

from __future__ import annotations

import json
import platform
import sys
from fnmatch import fnmatchcase
from pathlib import Path

from tests.cpython.driver import Outcome, names_of_all, run
from tests.cpython.page import PAGE, make_page, stale
from tests.cpython.source import MISSING, changed, find


def main(what: str, results: str, *more: str) -> int:
    """Do what the command line says; return the exit code."""
    return run_tests(Path(results), more) if what == "run" else write_page([results, *more])


def run_tests(results: Path, patterns: tuple[str, ...]) -> int:
    """Run the tests that match a pattern (none: all), tell what came of them, and write it down."""
    path = find()
    if path is None:
        print(f"{MISSING}; nothing to run")
        return 2
    names = [
        name for name in names_of_all() if not patterns or any(fnmatchcase(name, one) for one in patterns)
    ]
    outcomes = run(names, say)
    bad = [outcome for outcome in outcomes if not outcome.good]
    for outcome in bad:
        print(f"\n== {outcome.name} {outcome.verdict}\n{outcome.text}")
    counts = {
        verdict: sum(one.verdict == verdict for one in outcomes)
        for verdict in sorted({one.verdict for one in outcomes})
    }
    print(
        f"Python {platform.python_version()}:",
        *(f"{n} {verdict}," for verdict, n in counts.items()),
        f"{len(outcomes)} in all",
    )
    lines = [line.old for line in changed(path)[1]]
    results.write_text(
        json.dumps({"python": platform.python_version(), "outcomes": outcomes, "lines": lines})
    )
    return 1 if bad else 0


def say(outcome: Outcome) -> None:
    """Say what came of a test."""
    print(f"{outcome.verdict:8} {outcome.name}", flush=True)


def write_page(results: list[str]) -> int:
    """Write the page of what several Pythons wrote down."""
    runs = [json.loads(Path(name).read_text("utf-8")) for name in results]
    if old := stale(runs):
        print("in none of the tests, take it out of tests/cpython/left_out.py:", *old, sep="\n  ")
        return 1
    PAGE.write_text(make_page(runs), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
