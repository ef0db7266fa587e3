"""How many examples Hypothesis tries where each is a long walk: a sixth, and all with `--examples all`.

What it tries is new in each run, so that runs see what one does not.
"""

from __future__ import annotations

__all__ = ["examples", "try_all"]

_share = 6


def try_all() -> None:
    """Have the tests that are collected from now on try all."""
    global _share  # noqa: PLW0603 - a whole run's option
    _share = 1


def examples(count: int) -> int:
    """Return how many of `count` examples to try."""
    return max(1, count // _share)
