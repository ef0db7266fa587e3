"""Run the bench: python -m tests.bench --help."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import secrets
import shlex
import signal
import sys
import time
from pathlib import Path

from tests.bench.report import PAGE, tables, write
from tests.bench.rows import ROWS, Durable, Jobs, Pairs, Recipe, Row, Stored
from tests.bench.runner import Result, Runner, Settings
from tests.bench.sides import SIDES
from tests.bench.stock import KEY_VARIABLE

QUICK = Settings(rounds=1, seconds=0.2, scale=0.1, patience_s=20)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure mpserve, the standard library and bare sockets side by side.",
        epilog="Exit code: 0 when every row ran on every side, 1 when one FAILED, 2 for a wrong option.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short round, a tenth of the jobs and clients; under 60 s"
    )
    parser.add_argument("--rounds", type=int, help="rounds, each visits every side once (default: 3)")
    parser.add_argument("--seconds", type=float, help="length of one measurement of calls (default: 0.5)")
    parser.add_argument(
        "--scale", type=float, help="factor on the numbers of jobs and idle clients (default: 1)"
    )
    parser.add_argument(
        "--sides", default=",".join(SIDES), help=f"sides to run, of {','.join(SIDES)} (default: all)"
    )
    parser.add_argument(
        "--rows",
        default="",
        help="run only rows with this text in their description, such as lock or 'recipe'",
    )
    parser.add_argument("--list", action="store_true", help="list the rows and stop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every sample of every round")
    parser.add_argument("--write", action="store_true", help=f"also write the tables into {PAGE.name}")
    options = parser.parse_args()
    unknown = set(options.sides.split(",")) - set(SIDES)
    if unknown:
        parser.error(
            f"--sides: {', '.join(sorted(unknown))} is not known here; write some of {','.join(SIDES)}"
        )
    return options


def settings(options: argparse.Namespace) -> Settings:
    """Return the settings: the defaults or the quick ones, with what was given on the command line."""
    base = QUICK if options.quick else Settings()
    return Settings(
        rounds=options.rounds or base.rounds,
        seconds=options.seconds or base.seconds,
        scale=options.scale or base.scale,
        patience_s=base.patience_s,
    )


def describe(row: Row) -> str:
    """Name a row in one line."""
    if isinstance(row, Pairs):
        return f"calls: {row.title}, {row.clients} client{'s' * (row.clients > 1)}"
    if isinstance(row, Durable):
        return f"durable, {describe(row.work)}"
    if isinstance(row, Stored):
        return f"durable: {row.items:,} items stored"
    if isinstance(row, Recipe | Jobs):
        return f"{type(row).__name__.lower()}: {row.title}"
    return f"idle: {row.clients:,} clients"


def measure(runner: Runner, text: str) -> list[Result]:
    """Run every row whose description has `text` in it, telling which."""
    results = []
    for row in ROWS:
        if text in describe(row):
            begin = time.monotonic()
            print(f"{describe(row)} …", end="", file=sys.stderr, flush=True)
            results.append(runner.run(row))
            print(f" {time.monotonic() - begin:.1f} s", file=sys.stderr)
    return results


def prepare() -> None:
    """Make this run's key, allow as many open files as may be, and let a SIGTERM end the children too."""
    os.environ[KEY_VARIABLE] = secrets.token_hex(32)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # then the idle row says what it lacks
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(143))


def main() -> int:
    """Run the rows, print the tables."""
    options = arguments()
    if options.list:
        print("\n".join(describe(row) for row in ROWS))
        return 0
    prepare()
    runner = Runner(settings(options), frozenset(options.sides.split(",")))
    try:
        results = measure(runner, options.rows)
    finally:
        runner.close()
    text = tables(
        results, shlex.join(["scripts/bench", *(word for word in sys.argv[1:] if word != "--write")])
    )
    print(text)
    if options.json:
        samples = [
            {"row": describe(it.row), "samples": it.samples, "failures": it.failures} for it in results
        ]
        options.json.write_text(json.dumps(samples, indent=1), encoding="utf-8")
    if options.write:
        write(text)
    return 1 if any(result.failures for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
