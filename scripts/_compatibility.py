"""Compare `mpclient` with `multiprocessing` and write the page that tells of it: `scripts/compatibility`."""

from __future__ import annotations

import multiprocessing
import sys

from tests.conformance.harness import PAGE_PYTHON, compare
from tests.conformance.page import PAGE, all_cases, make_page
from tests.conformance.sides import our_side, their_side

from mpclient import testing

WORKERS = 2


def main() -> None:
    """Run all cases on both sides; write the page if it has changed."""
    if sys.version_info[:2] != PAGE_PYTHON:
        sys.exit(f"the page compares with Python {PAGE_PYTHON[0]}.{PAGE_PYTHON[1]}: run it with that one")
    with (
        multiprocessing.get_context("spawn").Manager() as manager,
        testing.running_cluster(WORKERS) as cluster,
    ):
        theirs, ours = their_side(manager), our_side(cluster)
        page = make_page([compare(case, theirs, ours) for case in all_cases()])
    if not PAGE.exists() or PAGE.read_text("utf-8") != page:
        PAGE.write_text(page, "utf-8")
        print(f"wrote {PAGE.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
