"""How much of users' values the server holds, and those who wait until it may hold more.

RULES
* What is stored is counted by the change that stores it, and by the one that gives it up. Nothing is ever
  looked through to find out.
* A value costs its bytes and `VALUE_BYTES`; a key, a member or a number of an array what it takes.
* Answers that are kept until they are acknowledged and output on its way count as well.
* With a limit, a call that would store more than there is room for does not reach its object: a put waits in
  line here, all others fail (`mpshared.ops`, column `room`). Reading, taking and deleting need no room.
* What comes back (an item of a dead consumer) and the results of jobs always enter: to refuse them would lose
  something, or keep for ever what they take the place of.
* While the process itself lacks memory (`short`) there is no room, and nobody waits for it here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mpserve.core.parking import ParkingLot
from mpshared.bunch import Bunch, total_bytes
from mpshared.errors import Full, NoRoom
from mpshared.units import format_size, shown_size
from mpshared.values import Blob, size_bytes

if TYPE_CHECKING:
    from mpserve.core.calls import Call
    from mpserve.core.effects import Effects
    from mpserve.core.machine import Machine
    from mpshared.errors import MpserveError

__all__ = ["VALUE_BYTES", "Room", "key_bytes", "plain_bytes", "weight"]

VALUE_BYTES: Final = 64
"""What a value takes besides its bytes: the head of its object, and its place in a dict or a line."""


def weight(blobs: Sequence[Blob]) -> int:
    """Return what values cost."""
    if type(blobs) is Bunch:
        return plain_bytes(blobs)
    size = VALUE_BYTES * len(blobs)
    for blob in blobs:
        size += len(blob) if type(blob) is bytes else size_bytes(blob)
    return size


def plain_bytes(blobs: Sequence[Blob]) -> int:
    """Return what values cost that are plain bytes, all of them."""
    return VALUE_BYTES * len(blobs) + total_bytes(blobs)


def key_bytes(key: Any) -> int:
    """Return what a key costs besides its value."""
    return len(key) if isinstance(key, (str, bytes)) else 0


_SHORT: Final = (
    "the server has no memory for more; reads, gets and deletes go on, and more is accepted when there is "
    "some again. Give the server more memory, or bound what it holds (--max-memory)"
)


class _Wish(NamedTuple):
    """What a call in the line needs; its waiter's note."""

    size: int
    args: list[Any]
    deadline_s: float | None


class Room:
    """The room for users' values."""

    __slots__ = ("held_bytes", "limit_bytes", "lot", "short")

    def __init__(self) -> None:
        self.held_bytes = 0
        self.limit_bytes = 0
        """0: none."""
        self.lot = ParkingLot()
        """Puts that wait, of all objects."""
        self.short: Callable[[], bool] | None = None
        """Set when the process lacked memory: tells whether it still does."""

    def admits(self, fx: Effects, call: Call, machine: Machine, args: list[Any]) -> bool:
        """Tell whether a call that stores something may go on; one that may wait is parked or answered.

        Raises:
            Full: It does not want to wait.
            NoRoom: It cannot wait, or would wait for ever.

        Cost: O(values of the call).
        """
        if call.op.room == "enter":
            return True
        size = machine.growth(call, args)
        waits = call.op.room == "wait"
        if size > 0 and self.short is not None and self.short():
            raise NoRoom(f"{call.op.name} on {machine.label} was not done: {_SHORT}", journal=True)
        if size <= 0 or not self.limit_bytes:
            return True
        if self.held_bytes + size <= self.limit_bytes and not (waits and self.lot.first()):
            return True
        if size > self.limit_bytes:
            raise NoRoom(f"{self._refused(call, machine, size)}, which is less: it will never fit")
        if not waits:
            means = "reads, gets and deletes go on; make room by one of them, or raise the limit"
            raise NoRoom(f"{self._refused(call, machine, size)}, {self._left()}; {means}")
        timeout_s = _timeout_s(call, args)
        if timeout_s == 0:
            raise self._full(call, machine, size)
        deadline_s = None if timeout_s is None else fx.now_s + timeout_s
        expired = partial(self._expired, machine, size)
        self.lot.park(fx, call, timeout_s, expired, _Wish(size, args, deadline_s))
        return False

    def next_in(self, now_s: float) -> tuple[Call, list[Any]] | None:
        """Return the call that waited longest, and its arguments, when it fits; it waits here no more."""
        waiter = self.lot.first()
        if waiter is None:
            return None
        call = waiter.call
        wish: _Wish = waiter.note
        if self.held_bytes + wish.size > self.limit_bytes:
            return None
        self.lot.forget(call)
        if wish.deadline_s is None:
            return call, wish.args
        left_s = max(0.0, wish.deadline_s - now_s)
        at = _timeout_at(call)
        return call, [left_s if n == at else arg for n, arg in enumerate(wish.args)]

    def turn_away(self, fx: Effects, machine: Machine, error: MpserveError) -> None:
        """Answer those who wait to put to an object which takes nothing any more. Cost: O(who waits)."""
        for call in self.lot:
            if call.machine is machine:
                self.lot.forget(call)
                fx.fail(call, error)

    def _expired(self, machine: Machine, size: int, fx: Effects, call: Call) -> None:
        fx.fail(call, self._full(call, machine, size))

    def _full(self, call: Call, machine: Machine, size: int) -> Full:
        return Full(f"{self._refused(call, machine, size)}, {self._left()}; get something, or wait longer")

    def _refused(self, call: Call, machine: Machine, size: int) -> str:
        needs = f"{call.op.name} on {machine.label} needs {shown_size(size)}"
        return f"no room: {needs} of the server's --max-memory of {format_size(self.limit_bytes)}"

    def _left(self) -> str:
        return f"of which {shown_size(max(0, self.limit_bytes - self.held_bytes))} are free"

    def statistics(self) -> dict[str, int]:
        """Return what `mpserve status` shows."""
        return {"held_bytes": self.held_bytes, "limit_bytes": self.limit_bytes, "waiting": len(self.lot)}

    def validate(self, machines: Iterable[Machine], others: int = 0) -> None:
        """Raise AssertionError unless what is counted is there. Cost: O(everything)."""
        there = sum(weight(list(machine.stored())) + machine.extra_bytes() for machine in machines)
        assert self.held_bytes == there + others, (self.held_bytes, there, others)
        self.lot.validate()


def _timeout_at(call: Call) -> int | None:
    return next((at for at, arg in enumerate(call.op.args) if arg.name == "timeout_s"), None)


def _timeout_s(call: Call, args: list[Any]) -> float | None:
    at = _timeout_at(call)
    return None if at is None else args[at]
