"""Plain Python: pickles over raw sockets, and no more than that; see `tests.bench.plain`."""

from __future__ import annotations

from tests.bench.plain import Shared
from tests.bench.stations.base import Pair, Station
from tests.bench.stations.works import PAIRS

__all__ = ["Plain"]


class Plain(Station):
    """A pair of calls on the one dict, list or queue there."""

    def pair(self, work: str, name: str, index: int) -> Pair:
        """Return the pair on the object of that kind."""
        return PAIRS[work](Shared(self.address, work), index)
