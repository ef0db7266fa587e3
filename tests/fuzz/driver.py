"""One target in its own process: started, listened to, and told about while it runs."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz.corpus import CORPUS, CRASHES, name_of
from tests.fuzz.rule import Target

__all__ = ["Outcome", "Plan", "run"]

_HANGS_S: Final = 20
"""What does not come back from C by then is a finding; on a busy machine a second may take some."""
_RSS_MB: Final = 1024
_EVERY_S: Final = 10.0
_PROGRESS: Final = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) .*?corp: (\d+)")
_STAT: Final = re.compile(r"stat::(\w+):\s+(\d+)")
_WRITTEN: Final = re.compile(r"Test unit written to (\S+)")
_LAST_LINES: Final = 25


@dataclass(frozen=True, slots=True)
class Plan:
    """What one target is to do."""

    target: Target
    runs: int
    seconds: float | None
    seed: int
    work: Path
    """Where it keeps what it finds interesting."""


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    target: Target
    runs: int = 0
    rate: int = 0
    """Inputs a second, without the time to load everything."""
    reached: int = 0
    """Branches of ours, as atheris counts them."""
    crash: str = ""
    """Where the input lies that broke the rule."""
    why: str = ""
    """The last that its process said."""
    kept: int = 0


def run(plan: Plan) -> Outcome:
    """Run one target to its end."""
    outcome = Outcome(plan.target)
    seeds = _lay_out_seeds(plan)
    started_s = time.monotonic()
    with subprocess.Popen(
        _command(plan, seeds), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as child:
        assert child.stdout is not None
        said = _listen(child.stdout, outcome, started_s, plan.runs)
    stats = dict(_STAT.findall("".join(said)))
    outcome.runs = int(stats.get("number_of_executed_units", outcome.runs))
    outcome.rate = int(stats.get("average_exec_per_sec", 0))
    if child.returncode:
        outcome.why = "".join(said[-_LAST_LINES:])
        written = _WRITTEN.search("".join(said))
        outcome.crash = written[1] if written else f"(no input: its process ended with {child.returncode})"
    _say(outcome, "done")
    return outcome


def _lay_out_seeds(plan: Plan) -> Path:
    """Write the seeds where libFuzzer reads them; they are not of the corpus."""
    plan.work.mkdir(parents=True, exist_ok=True)
    folder = plan.work / "seeds"
    folder.mkdir(exist_ok=True)
    for data in plan.target.seeds():
        (folder / name_of(data)).write_bytes(data)
    return folder


def _command(plan: Plan, seeds: Path) -> list[str]:
    name = plan.target.name
    kept = CORPUS / name
    kept.mkdir(parents=True, exist_ok=True)
    found = plan.work / "found"
    found.mkdir(exist_ok=True)
    options = {
        "runs": plan.runs,
        "seed": plan.seed,
        "max_len": plan.target.input_max_bytes,
        "timeout": _HANGS_S,
        "rss_limit_mb": _RSS_MB,
        "artifact_prefix": f"{CRASHES / name}-",
        "print_final_stats": 1,
    }
    if plan.seconds is not None:
        options["max_total_time"] = max(1, round(plan.seconds))
    arguments = [f"-{option}={value}" for option, value in options.items()]
    return [sys.executable, "-m", "tests.fuzz.child", name, *arguments, *map(str, (found, kept, seeds))]


def _listen(lines: Iterable[str], outcome: Outcome, started_s: float, runs: int) -> list[str]:
    """Note how far it is, and say so now and then; return its last lines."""
    said: list[str] = []
    told_s = started_s
    for line in lines:
        match = _PROGRESS.match(line)
        if match is None:
            said.append(line)
            del said[: -10 * _LAST_LINES]
            continue
        outcome.runs, outcome.reached = int(match[1]), int(match[2])
        outcome.rate = round(outcome.runs / (time.monotonic() - started_s))
        if time.monotonic() - told_s >= _EVERY_S:
            told_s = time.monotonic()
            _say(outcome, f"of {runs:,}")
    return said


def _say(outcome: Outcome, how: str) -> None:
    found = "  BROKE THE RULE" if outcome.crash else ""
    done = f"{outcome.target.name:24} {outcome.runs:>10,} {how:<14} {outcome.rate:>7,}/s"
    print(f"{done}  reaches {outcome.reached}{found}", flush=True)
