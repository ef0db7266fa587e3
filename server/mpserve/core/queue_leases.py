"""Items that are out: which session holds which, through which lane, in the order in which it got them.

RULES
* A `Lease` is a run of items handed out together. To give up its beginning moves a number and copies nothing.
* To give up its middle makes two leases that share their values and keep their place in the order.
* Ranges that a session does not hold are passed over: it may have lost them, and told of them twice.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence

from mpserve.core.queue_order import Run
from mpserve.core.queue_ranges import Range, merged
from mpshared.values import Blob

__all__ = ["Lease", "Leases"]


class Lease:
    """Items ``first .. last`` held through one lane. ``blobs[0]`` is the value of item `origin`."""

    __slots__ = ("blobs", "deaths", "first", "lane", "last", "origin", "results", "serial")

    def __init__(self, serial: int, lane: int, run: Run, results: str) -> None:
        self.serial = serial
        """Leases that were handed out later have higher ones."""
        self.lane = lane
        self.first, self.deaths, self.blobs = run
        self.origin = self.first
        self.last = self.first + len(self.blobs) - 1
        self.results = results
        """Ident of the queue that the jobs' results go to, or ""."""

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __contains__(self, number: int) -> bool:
        return self.first <= number <= self.last

    def part(self, lo: int, hi: int) -> Run:
        """Return some of the items."""
        if lo == self.origin and len(self.blobs) == hi - lo + 1:
            return lo, self.deaths, self.blobs
        return lo, self.deaths, self.blobs[lo - self.origin : hi - self.origin + 1]

    def tail(self, first: int) -> Lease:
        """Return a lease of the items from `first` on, at the same place in the order."""
        tail = Lease(self.serial, self.lane, (first, self.deaths, self.blobs), self.results)
        tail.origin, tail.last = self.origin, self.last
        return tail

    def begin_at(self, first: int) -> None:
        """Give up the items before `first`; let go of their values when they are the greater part."""
        self.first = first
        gone = first - self.origin
        if gone * 2 > len(self.blobs):
            self.blobs = self.blobs[gone:]
            self.origin = first


class _Holder:
    """What one session holds."""

    __slots__ = ("firsts", "lanes")

    def __init__(self) -> None:
        self.lanes: dict[int, OrderedDict[Lease, None]] = {}
        self.firsts: dict[int, Lease] = {}
        """The same leases, by their first item."""

    def add(self, lease: Lease) -> None:
        self.firsts[lease.first] = lease
        line = self.lanes.get(lease.lane)
        if line is None:
            line = self.lanes[lease.lane] = OrderedDict()
        line[lease] = None

    def overlaps(self, ranges: Sequence[Range]) -> list[tuple[Lease, int, int]]:
        """Return (lease, first, last) for every part of `ranges` (ascending, apart) that is held."""
        pieces = []
        firsts: list[int] | None = None
        for lo, hi in ranges:
            lease = self.firsts.get(lo)
            if lease is not None and hi <= lease.last:
                pieces.append((lease, lo, hi))
                continue
            firsts = firsts or sorted(self.firsts)
            for at in range(max(bisect_right(firsts, lo) - 1, 0), bisect_right(firsts, hi)):
                lease = self.firsts[firsts[at]]
                if lease.last >= lo:
                    pieces.append((lease, max(lo, lease.first), min(hi, lease.last)))
        return pieces

    def remove(self, lease: Lease, lo: int, hi: int) -> None:
        """Give up a part of a lease. What is left before it remains the same object."""
        if lo > lease.first:
            if hi < lease.last:
                self._insert_after(lease, lease.tail(hi + 1))
            lease.last = lo - 1
            return
        del self.firsts[lease.first]
        if hi < lease.last:
            lease.begin_at(hi + 1)
            self.firsts[lease.first] = lease
            return
        line = self.lanes[lease.lane]
        del line[lease]
        if not line:
            del self.lanes[lease.lane]

    def _insert_after(self, lease: Lease, tail: Lease) -> None:
        self.firsts[tail.first] = tail
        line = self.lanes[lease.lane]
        line[tail] = None
        later = list(line)
        for other in later[later.index(lease) + 1 : -1]:
            line.move_to_end(other)

    def in_order(self) -> list[Lease]:
        leases = [lease for line in self.lanes.values() for lease in line]
        return sorted(leases, key=lambda lease: (lease.serial, lease.first))


class Leases:
    """All leases of one queue."""

    __slots__ = ("_holders", "_serial", "count")

    def __init__(self) -> None:
        self._holders: dict[str, _Holder] = {}
        self._serial = 0
        self.count = 0
        """Items that are out."""

    def __iter__(self) -> Iterator[tuple[str, Lease]]:
        """Yield (session id, lease) for all, each session's in the order in which it got them."""
        for session_id, holder in self._holders.items():
            for lease in holder.in_order():
                yield session_id, lease

    @property
    def holders(self) -> Collection[str]:
        """The ids of the sessions that hold any."""
        return self._holders.keys()

    def blobs(self) -> Iterator[Blob]:
        """Yield the values of all items that are out."""
        for _, lease in self:
            yield from lease.part(lease.first, lease.last)[2]

    def of(self, session_id: str) -> list[Lease]:
        """Return what a session holds, oldest first."""
        holder = self._holders.get(session_id)
        return holder.in_order() if holder is not None else []

    def grant(self, session_id: str, lane: int, results: str, runs: Sequence[Run]) -> None:
        """Give items to a session. Cost: O(runs)."""
        holder = self._holders.get(session_id)
        if holder is None:
            holder = self._holders[session_id] = _Holder()
        for run in runs:
            self._serial += 1
            self.count += len(run[2])
            holder.add(Lease(self._serial, lane, run, results))

    def holds(self, session_id: str, ranges: Sequence[Range]) -> bool:
        """Tell whether a session holds all of what is one range of one lease; False tells nothing."""
        holder = self._holders.get(session_id)
        if holder is None or len(ranges) != 1:
            return False
        lease = holder.firsts.get(ranges[0][0])
        return lease is not None and ranges[0][1] <= lease.last

    def held_of(self, session_id: str, ranges: Sequence[Range]) -> list[Range]:
        """Return what a session holds of `ranges`. Cost: as `give_up`."""
        holder = self._holders.get(session_id)
        return [] if holder is None else [(lo, hi) for _, lo, hi in holder.overlaps(merged(ranges))]

    def give_up(self, session_id: str, ranges: Sequence[Range]) -> list[Run]:
        """Take from a session what it holds of `ranges` and return it.

        Cost: O(ranges) when each begins where a lease begins, as acknowledgements do; else O(its leases).
        """
        holder = self._holders.get(session_id)
        if holder is None:
            return []
        pieces = holder.overlaps(ranges if len(ranges) == 1 else merged(ranges))
        runs = [lease.part(lo, hi) for lease, lo, hi in pieces]
        for lease, lo, hi in reversed(pieces):  # the last first: cutting leaves the beginning in place
            holder.remove(lease, lo, hi)
            self.count -= hi - lo + 1
        if not holder.firsts:
            del self._holders[session_id]
        return runs

    def counts(self, session_id: str) -> dict[int, int]:
        """Return how many items a session holds, by lane."""
        holder = self._holders.get(session_id)
        lanes = {} if holder is None else holder.lanes
        return {lane: sum(map(len, line)) for lane, line in lanes.items()}

    def oldest(self, session_id: str, lane: int, n: int) -> list[Range]:
        """Return up to `n` items: the oldest that came through `lane`, then the session's oldest others."""
        holder = self._holders.get(session_id)
        if holder is None:
            return []
        ranges: list[Range] = []
        for lease in holder.lanes.get(lane, ()):
            if n <= 0:
                return ranges
            ranges.append((lease.first, min(lease.last, lease.first + n - 1)))
            n -= len(lease)
        if n > 0:
            for lease in (lease for lease in holder.in_order() if lease.lane != lane):
                if n <= 0:
                    break
                ranges.append((lease.first, min(lease.last, lease.first + n - 1)))
                n -= len(lease)
        return ranges

    def validate(self) -> None:
        """Raise AssertionError when the indexes differ or an item is out twice."""
        numbers: set[int] = set()
        for holder in self._holders.values():
            leases = [lease for line in holder.lanes.values() for lease in line]
            assert leases
            assert {lease.first: lease for lease in leases} == holder.firsts
            assert [lease for line in holder.lanes.values() for lease in sorted(line, key=_place)] == leases
            for lane, line in holder.lanes.items():
                assert line
                assert all(lease.lane == lane for lease in line)
            for lease in leases:
                assert lease.origin <= lease.first <= lease.last < lease.origin + len(lease.blobs)
                numbers.update(range(lease.first, lease.last + 1))
        assert len(numbers) == self.count


def _place(lease: Lease) -> tuple[int, int]:
    return lease.serial, lease.first
