"""THE table of what is measured: the sections, in the order of the report."""

from __future__ import annotations

from tests.bench.rows import Section
from tests.bench.sections import (
    calls,
    curves,
    distance,
    durable,
    fairness,
    idle,
    jobs,
    peers,
    recipe,
    startup,
    stored,
)

__all__ = ["SECTIONS"]

SECTIONS: tuple[Section, ...] = tuple(
    it.SECTION
    for it in (calls, recipe, jobs, peers, idle, durable, stored, curves, fairness, startup, distance)
)
