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

from tests.bench import environments
from tests.bench.children import ROOT
from tests.bench.report import PAGE, Results, report, write
from tests.bench.rows import Result, Section
from tests.bench.runner import Runner, Settings
from tests.bench.sections import curves, peers
from tests.bench.sections.table import SECTIONS
from tests.bench.sides import OURS
from tests.bench.stock import KEY_VARIABLE

QUICK = Settings(rounds=1, seconds=0.2, scale=0.1, patience_s=20)
PEERS = tuple(name for name in environments.PACKAGES if name != "plots")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = _parser()
    options = parser.parse_args()
    if options.write and (options.only or options.rows or options.curves):
        parser.error("--write replaces the whole report, so it goes with no --only, --rows or --curves")
    if options.curves:
        options.only = curves.SECTION.key
    for option, known in (("sides", OURS), ("peers", PEERS), ("only", tuple(it.key for it in SECTIONS))):
        words = [word for word in getattr(options, option).split(",") if word]
        if unknown := sorted(set(words) - set(known)):
            name = "with" if option == "peers" else option
            parser.error(f"--{name}: {', '.join(unknown)} is not known here; write some of {','.join(known)}")
        setattr(options, option, words)
    return options


def _parser() -> argparse.ArgumentParser:
    """Return what reads the options; `arguments` looks whether they go together."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure mpserve, the standard library, bare sockets and others side by side.",
        epilog="Exit code: 0 when every row ran on every side, 1 when one FAILED, 2 for a wrong option, "
        "130 after Ctrl-C.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short round, a tenth of the jobs and clients"
    )
    parser.add_argument("--rounds", type=int, help="rounds, each visits every side once (default: 3)")
    parser.add_argument("--seconds", type=float, help="length of one measurement of calls (default: 0.5)")
    parser.add_argument(
        "--scale", type=float, help="factor on the numbers of jobs and idle clients (default: 1)"
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="SECTION,…",
        help=f"run only these sections, of {','.join(section.key for section in SECTIONS)}",
    )
    parser.add_argument(
        "--rows",
        default="",
        help="run only rows with this text in their description, such as lock or 'recipe'",
    )
    _add_sides_and_outputs(parser)
    return parser


def _add_sides_and_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sides", default=",".join(OURS), help="sides to run (default: %(default)s)")
    parser.add_argument(
        "--with",
        dest="peers",
        default="",
        metavar="PEER,…",
        help=f"also measure these, of {','.join(PEERS)}; each gets an environment of its own under .cache",
    )
    parser.add_argument(
        "--curves",
        action="store_true",
        help=f"run only the curves, and draw them into {curves.PLOT.relative_to(ROOT)}",
    )
    parser.add_argument("--list", action="store_true", help="list the rows and stop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every sample of every round")
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"also write the report into {PAGE.name}, and the plots beside it",
    )


def settings(options: argparse.Namespace) -> Settings:
    """Return the settings: the defaults or the quick ones, with what was given on the command line."""
    base = QUICK if options.quick else Settings()
    return Settings(
        rounds=options.rounds or base.rounds,
        seconds=options.seconds or base.seconds,
        scale=options.scale or base.scale,
        patience_s=base.patience_s,
    )


def measure(runner: Runner, sections: list[Section], text: str) -> list[tuple[Section, list[Result]]]:
    """Run every row whose description has `text` in it and that has a side to run, telling which."""
    found = []
    for section in sections:
        results = []
        for row in section.rows:
            if text in section.describe(row) and runner.only.intersection(row.sides):
                begin = time.monotonic()
                print(f"{section.describe(row)} …", end="", file=sys.stderr, flush=True)
                results.append(runner.run(section, row))
                print(f" {time.monotonic() - begin:.1f} s", file=sys.stderr)
        found.append((section, results))
    return found


def prepare() -> None:
    """Make this run's key, allow as many open files as may be, and let a SIGTERM end the children too."""
    os.environ[KEY_VARIABLE] = secrets.token_hex(32)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # then the idle row says what it lacks
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(143))


def chosen(options: argparse.Namespace) -> list[Section]:
    """Return the sections that are asked for."""
    return [section for section in SECTIONS if not options.only or section.key in options.only]


def run(options: argparse.Namespace) -> Results:
    """Run the rows; whatever happens, end what was started."""
    prepare()
    peers = [name for name in options.peers if environments.have(name)]
    runner = Runner(settings(options), frozenset([*options.sides, *peers]))
    try:
        return measure(runner, chosen(options), options.rows)
    finally:
        runner.close()


def samples(results: Results) -> list[dict[str, object]]:
    """Return every sample, as plain data."""
    return [
        {"row": section.describe(it.row), "samples": it.samples, "failures": it.failures}
        for section, found in results
        for it in found
    ]


def draw(results: Results) -> None:
    """Draw the pictures of what was measured, if matplotlib can be had."""
    found = {section.key: found for section, found in results}
    for path, plot in ((curves.PLOT, curves.plot), (peers.PLOT, peers.plot)):
        if plot(found):
            print(f"drawn: {path.relative_to(ROOT)}", file=sys.stderr)


def main() -> int:
    """Run the rows, print the tables."""
    options = arguments()
    if options.list:
        print("\n".join(section.describe(row) for section in chosen(options) for row in section.rows))
        return 0
    try:
        results = run(options)
    except KeyboardInterrupt:
        print("\ninterrupted: everything that was started has ended", file=sys.stderr)
        return 130
    words = [word for word in sys.argv[1:] if word != "--write"]
    text = report(results, shlex.join(["scripts/bench", *words]))
    print(text)
    if options.json:
        options.json.write_text(json.dumps(samples(results), indent=1), encoding="utf-8")
    if options.write:
        write(text)
    if options.write or options.curves:
        draw(results)
    return 1 if any(result.failures for _section, found in results for result in found) else 0


if __name__ == "__main__":
    sys.exit(main())
