"""Lent slots: processes beside the slots, while jobs in the slots wait for jobs of their own.

    --lend--> a process stands in for the lender --unlend--> LINGERS --LINGER_S--> told to stop --> gone
                          ^------------------lend--------------'

RULES
* One stand-in for each process whose job waits, started when none lingers; within --max-spawned.
* Stand-ins serve pools only: a pill is for the processes of the slots, and a recipe queue's jobs are not what
  anybody waits for in a slot.
* A stand-in that ends otherwise is replaced as long as its lender waits. A stop of the worker host leaves
  stand-ins to their lenders' ends: these could not finish their jobs without.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from mpclient.worker.host.slots import Slot

if TYPE_CHECKING:
    from mpclient.worker.host.child import Child

__all__ = ["Lending", "LentSlot"]

_LINGER_S: Final = 1.0
"""How long a stand-in stays without a lender: jobs that wait once often wait again."""


class LentSlot(Slot):
    """A place for a stand-in."""

    is_lent = True

    def __init__(self, name: str, lender: Child) -> None:
        super().__init__(name)
        self.lender: Child | None = lender
        """The process whose slot this is instead of; None: it lingers."""
        self.until_s: float | None = None
        """When a stand-in that lingers is stopped, monotonic."""

    def due_at_s(self, *, stopping: bool) -> float:  # noqa: ARG002 - its lender's job must be able to finish
        """Return when a process is to be started here, monotonic; infinity: not as things are."""
        return super().due_at_s(stopping=self.lender is None)

    @property
    def is_wanted(self) -> bool:
        """Whether it has a lender, or may soon have one."""
        return self.lender is not None or self.until_s is not None


class Lending:
    """See the file's beginning.

    Args:
        name: The worker host's.
        most: How many processes there may be beside the slots.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._count = 0
        self.slots: list[LentSlot] = []

    def lend(self, lender: Child, others: int) -> str | None:
        """Have a stand-in for a process; return why that cannot be, else None.

        Args:
            lender: The process whose job waits for jobs of its own.
            others: How many processes there are beside the slots and the stand-ins.
        """
        if any(slot.lender is lender for slot in self.slots):
            return None
        for slot in self.slots:
            if slot.until_s is not None:
                slot.lender, slot.until_s = lender, None
                return None
        if len(self.slots) + others >= self._most:
            has = f"it has {len(self.slots) + others} beside its slots, and --max-spawned is {self._most}"
            return (
                f"a job waits for jobs of its own, and {self._name} cannot start another process for these: "
                f"{has}. Start mpworker with more, or on more hosts, or nest jobs less deeply"
            )
        self._count += 1
        self.slots.append(LentSlot(f"{self._name}/+{self._count}", lender))
        return None

    def unlend(self, lender: Child) -> None:
        """Let the stand-in of a process linger: its job does not wait any more, or it has ended."""
        for slot in self.slots:
            if slot.lender is lender:
                slot.lender = None
                slot.until_s = time.monotonic() + _LINGER_S

    def give_up(self, slot: LentSlot, why: str) -> None:
        """Take a place away in which no process comes to work."""
        lender, slot.lender, slot.until_s = slot.lender, None, None
        if lender is not None:
            lender.channel.send("cannot_lend", text=why)

    def tidy(self) -> None:
        """Stop stand-ins that have lingered, and forget the places of those that are gone."""
        now_s = time.monotonic()
        for slot in self.slots:
            if slot.until_s is not None and slot.until_s <= now_s:
                slot.until_s = None
                if slot.child is not None:
                    slot.child.end("stop")
        self.slots = [slot for slot in self.slots if slot.child is not None or slot.is_wanted]
