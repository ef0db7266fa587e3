"""`scripts/fuzz`: runs the targets under atheris, tells how far they are, and keeps what they find.

Each target runs in a process of its own, `--jobs` of them at a time, with its part of the inputs. What is
new and worth keeping goes into the corpus when it is done; what breaks the rule lies in `tests/fuzz/crashes`
then, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz import page
from tests.fuzz.corpus import CORPUS, CRASHES, choose, kept, write
from tests.fuzz.driver import Outcome, Plan, run
from tests.fuzz.rule import Target, hold
from tests.fuzz.targets import BY_NAME, TARGETS

WORK = Path(".cache/fuzz")
"""What was found interesting here, much more than is kept in the corpus; the next run begins with it."""


def main() -> int:
    options = _options()
    if options.list:
        for target in TARGETS:
            print(f"{target.name:24} {target.about}")
        return 0
    if options.replay:
        return _replay(options.replay)
    started_s = time.monotonic()
    targets = [BY_NAME[name] for name in options.target or BY_NAME]
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = list(pool.map(run, _plans(targets, options)))
    for outcome in outcomes:
        outcome.kept = _keep(outcome.target)
    _tell(outcomes, time.monotonic() - started_s)
    if options.write:
        page.write(outcomes)
    return 1 if any(outcome.crash for outcome in outcomes) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=200_000, help="inputs in all (default: 200000)")
    parser.add_argument("--seconds", type=float, help="end after about so long, all together, on one core")
    parser.add_argument(
        "--target", action="append", choices=list(BY_NAME), help="only this one; may be repeated"
    )
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of chance (default: another one each time)")
    parser.add_argument("--write", action="store_true", help="add the figures to docs/explanation/fuzzing.md")
    parser.add_argument(
        "--replay", type=Path, help="use one input, whose file's name begins with its target's"
    )
    parser.add_argument("--list", action="store_true", help="name the targets")
    return parser.parse_args()


def _plans(targets: Sequence[Target], options: argparse.Namespace) -> list[Plan]:
    """Divide the inputs among the targets, by their shares."""
    shares = sum(target.share for target in targets)
    return [
        Plan(
            target,
            runs=max(1, options.runs * target.share // shares),
            seconds=None if options.seconds is None else max(1.0, options.seconds / len(targets)),
            seed=options.seed,
            work=WORK / target.name,
        )
        for target in targets
    ]


def _keep(target: Target) -> int:
    """Choose what of this run and of the corpus is worth keeping; return how many that are."""
    found = [path.read_bytes() for path in (WORK / target.name / "found").iterdir() if path.is_file()]
    return write(target, choose(target, [*found, *kept(target).values()]))


def _tell(outcomes: Sequence[Outcome], took_s: float) -> None:
    total = sum(outcome.runs for outcome in outcomes)
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(f"{total:,} inputs in {took_s:.0f} s; the corpus has {len(files)} of {size >> 10} KiB")
    for outcome in outcomes:
        if outcome.crash:
            print(f"\n{outcome.target.name} broke the rule:\n{outcome.why}")
            print(f"again, without atheris:  scripts/fuzz --replay {outcome.crash}")


def _replay(path: Path) -> int:
    """Use one input in this process; its exception comes out as it is."""
    names = [name for name in BY_NAME if path.name.startswith(f"{name}-") or path.parent.name == name]
    if not names:
        print(f"{path}: its name begins with no target's; see --list", file=sys.stderr)
        return 2
    name = max(names, key=len)
    hold(BY_NAME[name], path.read_bytes())
    print(f"{path}: {name} keeps the rule")
    return 0


if __name__ == "__main__":
    CRASHES.mkdir(exist_ok=True)
    sys.exit(main())
