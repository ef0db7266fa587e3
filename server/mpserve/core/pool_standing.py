"""A standing pool: it belongs to no program, and keeps each result until its time is over.

    enqueue --> (as all jobs on terms) --> result --kept for ttl--> gone
                                             '--> whoever asks for it, as often as it is asked for

RULES
* It has a name, and lasts until it is deleted. Its jobs are numbered by it, not by a program.
* A key names one job at a time: from when it is enqueued until its result is gone.
* A result is kept in the same step that brings it: whoever waits for it is told, whoever asks later, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mpserve.core.parking import ParkingLot
from mpserve.core.pool_terms import PoolTerms
from mpserve.core.queue_ranges import Range, merged, numbers_of
from mpshared.errors import BadValue, Conflict, NoSuchObject
from mpshared.terms import Terms

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects
    from mpserve.core.machine import Change
    from mpserve.core.parking import Waiter
    from mpshared.values import Blob

__all__ = ["PoolStanding"]


class Stay(NamedTuple):
    """How a job of a standing pool is known, and for how long."""

    key: str
    ttl_s: float | None


class Kept(NamedTuple):
    """A result, and until when it is kept (wall-clock); None: until it is released."""

    until_s: float | None
    blob: Blob


class PoolStanding(PoolTerms):
    """A pool that may be a standing one."""

    def __init__(self, ident: str, name: str | None = None, settings: dict[str, Any] | None = None) -> None:
        super().__init__(ident, name, settings)
        self.stays: dict[int, Stay] = {}
        """By number; of all jobs, also those whose results are kept."""
        self.keys: dict[str, int] = {}
        self.kept: dict[int, Kept] = {}
        self._askers: dict[int, ParkingLot] = {}
        """Who waits for which job."""

    # -- operations ------------------------------------------------------------------------------

    def enqueue(self, fx: Effects, call: Call, terms: dict[str, Any]) -> None:
        """Store the call's value as a job of a standing pool; answers [its number, whether it is new].

        With a key that another job has, nothing is stored, and the answer is that one's number.

        Raises:
            Conflict: This is a program's pool.
            BadType, BadValue, NoWorkers: As `submit_on_terms`.
        """
        if not self.settings["standing"]:
            raise Conflict(f"{self.label} belongs to a program, which numbers its jobs itself: submit to it")
        agreed = Terms.of(terms)
        number = self.keys.get(agreed.key) if agreed.key else None
        if number is not None:
            fx.reply(call, [number, False])
            return
        self.check_jobs(self.ready.next, call.blobs)
        self.change(fx, "stays", self.ready.next, agreed.key, agreed.ttl_s)
        number = self.add_on_terms(fx, agreed._replace(key="", ttl_s=Terms().ttl_s), call.blobs[0])
        fx.reply(call, [number, True])
        self.settle(fx)

    def ask(self, fx: Effects, call: Call, number: int, timeout_s: float | None) -> None:
        """Answer [where the job is, how many runs have failed], and its result once there is one.

        Where: "delayed", "waiting", "running", "done". Waits for the result up to `timeout_s`.

        Raises:
            NoSuchObject: There is no such job, or its result is not kept any more.
        """
        self._check_known(number)
        if number in self.kept or timeout_s == 0:
            self._tell(fx, call, number)
        else:
            lot = self._askers.setdefault(number, ParkingLot())
            lot.park(fx, call, timeout_s, self._asked_in_vain, number)

    def _asked_in_vain(self, fx: Effects, call: Call) -> None:
        self._tell(fx, call, call.args[0])
        self._end_line(call.args[0])

    def _end_line(self, number: int) -> None:
        """Forget the line of a job for which nobody waits any more."""
        if number in self._askers and not self._askers[number]:
            del self._askers[number]

    def _check_known(self, number: int) -> None:
        if number not in self.stays:
            why = "there never was one, or its result was kept for its ttl and is gone"
            raise NoSuchObject(f"{self.label} has no job {number}: {why}", ident=f"{self.ident}-{number}")

    def _tell(self, fx: Effects, call: Call, number: int) -> None:
        kept, special = self.kept.get(number), self.specials.get(number)
        fx.reply(
            call,
            [self._place_of(number), 0 if special is None else special.failures],
            () if kept is None else (kept.blob,),
        )

    def _place_of(self, number: int) -> str:
        if number in self.kept:
            return "done"
        if number in self.delayed:
            return "delayed"
        return "waiting" if self.ready.has(number) else "running"

    def release(self, fx: Effects, call: Call, number: int) -> None:
        """Forget a job that is done, before its time; answers whether it was.

        Raises:
            NoSuchObject: As `ask`.
        """
        self._check_known(number)
        found = number in self.kept
        if found:
            self.change(fx, "released", number)
        self.look_after(fx)
        fx.reply(call, found)

    def submit_on_terms(self, fx: Effects, call: Call, first: int, terms: dict[str, Any]) -> None:
        """Refuse what only a standing pool does; else see `PoolTerms`."""
        self.check_is_a_programs()
        if {"key", "ttl_s"} & terms.keys():
            raise BadValue(
                f"key and ttl are for jobs that outlive their program, not for those of {self.label}"
            )
        super().submit_on_terms(fx, call, first, terms)

    def check_is_a_programs(self) -> None:
        """Raise `Conflict` for a standing pool."""
        if self.settings["standing"]:
            raise Conflict(f"{self.label} is a standing one, which numbers its jobs itself: enqueue them")

    def remove_waiting(self, fx: Effects, ranges: list[Range]) -> Sequence[Range]:
        """Delete jobs that wait; those of a standing pool have a result, as somebody may ask for it."""
        found = self.find_waiting(ranges)
        if found and not self.settings["standing"]:
            self.change(fx, "cancel", found)
        elif found:
            for number in numbers_of(found):
                self.change(fx, "settled", number, self.cancelled_blob(number))
            self.settle(fx)
        return found

    def find_waiting(self, ranges: list[Range]) -> Sequence[Range]:
        """Return which of the jobs are READY or DELAYED."""
        wanted = merged(ranges)
        late = [(n, n) for n in self.delayed if any(lo <= n <= hi for lo, hi in wanted)]
        return merged([*self.ready.find(wanted), *late])

    def growth(self, call: Call, args: list[Any]) -> int:
        """Return by how much a call would enlarge what is held: not by a job whose key is known."""
        if call.op.method == "enqueue" and args[0].get("key") in self.keys:
            return 0
        return super().growth(call, args)

    # -- keeping ---------------------------------------------------------------------------------

    def keep_results(self, fx: Effects) -> None:
        """Keep new results, and tell who waits for them."""
        untils = []
        for number, _ in self.results:
            ttl_s = self.stays[number].ttl_s
            untils.append((number, None if ttl_s is None else fx.wall_s + ttl_s))
        self.change(fx, "kept", untils)
        self.look_after(fx)
        for number, _ in untils:
            lot = self._askers.pop(number, None)
            for call in () if lot is None else lot.drain():
                self._tell(fx, call, number)

    def on_stays(self, _fx: Effects, number: int, key: str, ttl_s: float | None) -> None:
        """Note how the next job is known."""
        self.stays[number] = Stay(key, ttl_s)
        if key:
            self.keys[key] = number

    def on_kept(self, _fx: Effects, untils: Sequence[tuple[int, float | None]]) -> None:
        """Move all results to those that are kept."""
        runs = self.results.take(self.results.count)
        blobs = {number: blob for first, part in runs for number, blob in enumerate(part, first)}
        for number, until_s in untils:
            self.kept[number] = Kept(until_s, blobs[number])
            self._touched.append(number)

    def on_released(self, fx: Effects, number: int) -> None:
        """Forget a job and its result."""
        fx.keep([self.kept.pop(number).blob], -1)
        key = self.stays.pop(number).key
        if key:
            del self.keys[key]
        self._touched.append(number)

    def on_keeps(self, fx: Effects, number: int, until_s: float | None, blob: Blob) -> None:
        """Keep a result; for a rebuilt pool."""
        fx.keep([blob])
        self.kept[number] = Kept(until_s, blob)

    def rebuild(self) -> Iterator[Change]:
        """Yield how jobs are known, the results that are kept, all else."""
        for number, stay in self.stays.items():
            yield "stays", (number, *stay)
        for number, kept in self.kept.items():
            yield "keeps", (number, *kept)
        yield from super().rebuild()

    # -- time ------------------------------------------------------------------------------------

    def with_alarms(self) -> Iterator[int]:
        """Yield the numbers of jobs to which something may happen by itself."""
        yield from super().with_alarms()
        yield from self.kept

    def due_of(self, number: int) -> float | None:
        """Return when that is."""
        kept = self.kept.get(number)
        return super().due_of(number) if kept is None else kept.until_s

    def happens(self, fx: Effects, number: int) -> None:
        """Forget a result whose time is over."""
        kept = self.kept.get(number)
        if kept is None:
            super().happens(fx, number)
        elif self._is_past(fx, kept.until_s):
            self.change(fx, "released", number)

    # -- looking ---------------------------------------------------------------------------------

    def lots(self) -> Iterable[ParkingLot]:
        """Return the lines of those who wait for a job."""
        return list(self._askers.values())

    def forget_waiter(self, fx: Effects, waiter: Waiter) -> None:
        """Drop a parked call."""
        super().forget_waiter(fx, waiter)
        if waiter.call.op.method == "ask":  # others wait elsewhere: to collect, or for room to submit
            self._end_line(waiter.note)

    def stored(self) -> Iterator[Blob]:
        """Yield all values, also of results that are kept."""
        yield from super().stored()
        for kept in self.kept.values():
            yield kept.blob

    def statistics(self) -> dict[str, Any]:
        """Return how many jobs are in each state, and how many results are kept."""
        return {**super().statistics(), "kept": len(self.kept)}

    def state(self) -> dict[str, Any]:
        """Return all jobs, and how they are known."""
        return {**super().state(), "stays": dict(self.stays), "kept": dict(self.kept)}

    def validate(self) -> None:
        """Raise AssertionError when a job is unknown, or known in vain."""
        super().validate()
        assert self.keys == {stay.key: number for number, stay in self.stays.items() if stay.key}
        if self.settings["standing"]:
            assert self.stays.keys() == {*self.specials, *self.kept}
            assert not self.results.count
        assert not self._askers.keys() & self.kept.keys()
        assert all(self._askers.values())
