"""Random programs that lose connections, give calls up, and die: an exact account in the end.

Counters hold what was acknowledged, and what was given up may be in them or not; every acknowledged item was
delivered once or is still there; a lock has one holder.
"""

from __future__ import annotations

import pickle
from collections import Counter
from random import Random
from typing import Any

import pytest
from tests.contract.rigs import GRACE_S, Pending, Program, Rig, Thread

SEEDS = range(6)
STEPS = 150


class Workload:
    """Some programs at work, and the account of what they were told."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig = rig
        self.random = Random(seed)
        self.judge = rig.thread()
        self.counter = rig.open(self.judge, "dict")
        self.queue = rig.open(self.judge, "queue")
        self.lock = rig.open(self.judge, "lock")
        self.semaphore = rig.open(self.judge, "semaphore", value=2)
        self.programs: list[Program] = []
        self.waiting: dict[Thread, Pending] = {}
        self.away: set[Thread] = set()
        self.holders: set[Thread] = set()
        self.calls: dict[Pending, Any] = {}
        """Every call, and the value it put."""
        self.given_up: set[Pending] = set()
        self.serial = 0

    # -- what may happen -----------------------------------------------------------------------------

    def step(self) -> None:
        actions = [self.call] * 12 + [self.lose, self.back, self.back, self.abandon, self.die, self.pass_time]
        self.random.choice(actions)()
        self.look()

    def threads(self) -> list[Thread]:
        while len(self.programs) < 3:
            program = self.rig.program()
            self.programs.append(program)
            for _ in range(2):
                program.thread()
        return [thread for program in self.programs for thread in program.threads]

    def call(self) -> None:
        free = [thread for thread in self.threads() if thread not in self.waiting and thread not in self.away]
        if not free:
            return
        thread = self.random.choice(free)
        self.serial += 1
        value = pickle.dumps(self.serial)
        choices: list[tuple[Any, ...]] = [
            ("dict.incr", self.counter, "n", 1),
            ("queue.put", self.queue, None),
            ("queue.put", self.queue, None),
            ("queue.get", self.queue, self.random.choice([None, 0, 0.2]), False),
            ("semaphore.acquire", self.semaphore, 0.1),
        ]
        if thread in self.holders:
            choices.append(("lock.release", self.lock))
        else:
            choices.append(("lock.acquire", self.lock, None))
        name, target, *args = self.random.choice(choices)
        pending = thread.call(name, target, *args, blobs=[value] if name == "queue.put" else [])
        self.holders -= {thread} if name == "lock.release" else set()
        self.waiting[thread] = pending
        self.calls[pending] = value
        chance = self.random.random()
        if chance < 0.15:  # before it sees an answer
            self.cut(thread)
        elif chance < 0.25 and name != "lock.release":  # else nobody would know who holds it
            self.give_up(thread)

    def lose(self) -> None:
        thread = self.random.choice(self.threads())
        if thread not in self.away:
            self.cut(thread)

    def cut(self, thread: Thread) -> None:
        thread.lose()
        self.away.add(thread)

    def back(self) -> None:
        if self.away:
            thread = self.random.choice(sorted(self.away, key=repr))
            self.away.remove(thread)
            thread.back()

    def abandon(self) -> None:
        waiting = [thread for thread, call in self.waiting.items() if call.name != "lock.release"]
        choices = [thread for thread in waiting if thread not in self.away]
        if choices:
            self.give_up(self.random.choice(choices))

    def give_up(self, thread: Thread) -> None:
        pending = self.waiting.pop(thread)
        self.given_up.add(pending)
        thread.abandon(pending)

    def die(self) -> None:
        if self.random.random() < 0.5:
            return
        program = self.random.choice(self.programs or [self.rig.program()])
        for thread in program.threads:
            self.waiting.pop(thread, None)
            self.away.discard(thread)
            self.holders.discard(thread)
        if program in self.programs:
            self.programs.remove(program)
        program.lose_all()
        self.rig.advance(GRACE_S)

    def pass_time(self) -> None:
        self.rig.advance(self.random.choice([0.01, 0.1, 0.3]))

    def look(self) -> None:
        """Note which answers have come; the next call of their threads acknowledges them."""
        self.rig.settle()
        for thread, pending in list(self.waiting.items()):
            if pending.arrived is None or thread in self.away:
                continue
            del self.waiting[thread]
            _ = pending.error
            if pending.name == "lock.acquire":
                self.holders.add(thread)
        assert len(self.holders) <= 1, "two hold the lock"

    # -- the account ---------------------------------------------------------------------------------

    def known(self, pending: Pending) -> bool:
        """Tell whether both sides know that the answer arrived."""
        thread = pending.thread
        sure = thread.program in self.programs or pending.number <= thread.told
        return pending.seen and pending not in self.given_up and sure

    def settle_accounts(self) -> None:
        for thread in sorted(self.away, key=repr):
            thread.back()
        self.away.clear()
        self.look()
        self.check_counter()
        self.check_queue()
        assert self.judge.ask("lock.locked", self.lock) == bool(self.holders)

    def check_counter(self) -> None:
        incrs = [pending for pending in self.calls if pending.name == "dict.incr"]
        sure = [pending for pending in incrs if self.known(pending)]
        total = self.judge.ask("dict.incr", self.counter, "n", 0)
        assert len(sure) <= total <= len(incrs)
        results = [pending.value for pending in sure]
        assert len(set(results)) == len(results), "two were told the same sum"

    def check_queue(self) -> None:
        n = self.judge.ask("queue.qsize", self.queue)
        left = Counter(self.judge.out("queue.get_many", self.queue, n, 0, False))
        gets = [pending for pending in self.calls if pending.name == "queue.get" and self.known(pending)]
        delivered = Counter(blob for get in gets if get.error is None for blob in get.out)
        puts = [pending for pending in self.calls if pending.name == "queue.put"]
        everything = left + delivered
        assert max(everything.values(), default=1) == 1, "an item was delivered twice"
        sure = {self.calls[put] for put in puts if self.known(put)}
        assert sure <= set(everything), "an acknowledged item was lost"
        assert set(everything) <= {self.calls[put] for put in puts}


@pytest.mark.parametrize("seed", SEEDS)
def test_an_exact_account(rig, seed):
    workload = Workload(rig, seed)
    for _ in range(STEPS):
        workload.step()
    workload.settle_accounts()
    for program in list(workload.programs):
        program.die()
    judge = workload.judge
    assert judge.ask("lock.locked", workload.lock) is False
    assert judge.ask("semaphore.get_value", workload.semaphore) == 2
    for ident in (workload.queue, workload.lock, workload.semaphore):
        assert rig.waiting(ident) == 0
