"""CPython's own tests of `multiprocessing`: where they are, and how they read with the lines changed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tests.cpython.left_out import LINES, Line

__all__ = ["MISSING", "changed", "find"]

MISSING = "this Python was installed without its own tests (on Debian: libpython3-testsuite)"


def find() -> Path | None:
    """Return the file of the tests, None if this Python was installed without it."""
    try:
        found = importlib.util.find_spec("test._test_multiprocessing")
    except ModuleNotFoundError:
        return None
    return None if found is None or found.origin is None else Path(found.origin)


def changed(path: Path) -> tuple[str, list[Line]]:
    """Return the tests with the lines that are changed, and which those are."""
    changes = {line.old: line for line in LINES}
    lines, met = [], []
    for line in path.read_text("utf-8").split("\n"):
        change = changes.get(line.strip())
        if change is None:
            lines.append(line)
        else:
            lines.append(line.replace(change.old, change.new))
            met.append(change)
    return "\n".join(lines), met
