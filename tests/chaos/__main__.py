"""The long form: scripts/chaos --minutes 15 --seed 1"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.storm import Storm


def main() -> int:
    """Run a storm; print what happened and the account."""
    about = "A workload under kills, stops, cuts and restarts."
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=about)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (1)")
    parser.add_argument("--seed", type=int, default=None, help="of what happens (drawn)")
    options = parser.parse_args()
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}, {options.minutes:g} minutes", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="mpserve-chaos-"))
    began_s = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began_s:5.0f}s] {text}", flush=True)

    storm = Storm(folder, seed, say)
    account = storm.run(options.minutes * 60)
    for what, n in {**storm.happened, **account.figures}.items():
        print(f"{n:12,}  {what.replace('_', ' ')}")
    for text in account.wrong:
        print(f"WRONG: {text}")
    if account.wrong:
        print(f"see {folder} (seed {seed})")
        return 1
    shutil.rmtree(folder)
    print(f"everything is accounted for (seed {seed})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
