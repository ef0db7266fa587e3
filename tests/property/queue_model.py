"""What a queue should do, told from its records: where each item is, and whose turn it was.

The model reads one record after the other. For each it knows what must have been true just before: that the
items which went out were the first ones, that the holder could give them back, that a death counted right.
"""

import pickle

from mpshared.values import NONE, needs_python

READY, DELAYED, TAKEN, DEAD, GONE = "ready", "delayed", "taken", "dead", "gone"


class Model:
    def __init__(self, order, max_attempts):
        self.order, self.max_attempts = order, max_attempts
        self.blobs, self.deaths, self.where = {}, {}, {}
        self.suspects, self.out, self.unfinished, self.shut = set(), [], 0, False
        self.wants, self.pythons, self.servers = {}, {}, set()
        """By (session, lane): how many and whether as jobs; by session: its Python; who called exchange."""
        self.out_at_death = []
        self.ahead, self.lines = None, {}
        """The (session, lane) that asks for jobs for later, and for which thread each item went out: all jobs
        with a queue for their results are of one."""
        self.specials, self.dues, self.were_special = {}, {}, set()
        """Items on terms, with when they expire; when those that are DELAYED are due; all that ever were on
        terms."""

    def place(self, number):
        if self.order == "priority":
            return pickle.loads(self.blobs[number]), number
        return -number if self.order == "lifo" else number

    def ready(self):
        return sorted((n for n, where in self.where.items() if where == READY), key=self.place)

    def may_have(self, session, number):
        version = needs_python(self.blobs[number])
        present = {self.pythons[server] for server in self.servers}
        return version is None or version == self.pythons[session] or version not in present

    def next_for(self, session, lane, apart):
        """Return who is next; those of `apart` go alone."""
        n, jobs = self.wants[session, lane]
        batch = [number for number in self.ready() if self.may_have(session, number)][:n]
        if self.order == "fifo" and batch:
            if batch[0] in apart:
                return batch[:1]
            batch = batch[: next((i for i, number in enumerate(batch) if number in apart), None)]
        for i, number in enumerate(batch):
            if jobs and number in self.suspects:
                return batch[: i or 1]
            if jobs and self.blobs[number] == NONE:
                return batch[: i + 1]
        return batch

    def leave(self, number, where):
        self.where[number] = where
        if where != READY:
            self.suspects.discard(number)
            self.specials.pop(number, None)
            self.dues.pop(number, None)

    def finish(self, n):
        self.unfinished = max(0, self.unfinished - n)

    def give_up(self, session, ranges):
        asked = set(expand(ranges))
        numbers = [n for holder, _, n in self.out if holder == session and n in asked]
        self.out = [entry for entry in self.out if entry[0] != session or entry[2] not in numbers]
        return numbers

    # -- one method for each verb, as in the queue --------------------------------------------------

    def put(self, blobs):
        assert not self.shut
        for blob in blobs:
            number = len(self.blobs) + 1
            self.blobs[number], self.deaths[number], self.where[number] = blob, 0, READY
        self.unfinished += len(blobs)

    def put_on_terms(self, number, special, due, blob):
        self.put([blob])
        assert number == len(self.blobs)
        self.specials[number] = special[1]
        self.were_special.add(number)
        if due is not None:
            self.where[number], self.dues[number] = DELAYED, due

    def due(self, number):
        assert self.where[number] == DELAYED
        self.where[number] = READY
        del self.dues[number]

    def lapse(self, number, report):
        assert self.where[number] in {READY, DELAYED}
        assert self.specials[number] is not None
        assert report["number"] == number
        self.leave(number, DEAD)
        self.finish(1)

    def lease(self, session, lane, results, ranges):
        numbers = expand(ranges)
        if (session, lane) == self.ahead:
            assert not self.suspects & set(numbers)
            assert not self.specials.keys() & set(numbers)
        self.lines |= dict.fromkeys(numbers, 0 if results else lane)
        # What was on terms, was set aside and is requeued has none any more; it may go alone or with others.
        batches = [self.next_for(session, lane, apart) for apart in (self.specials, self.were_special)]
        assert numbers in batches
        self.out += [(session, lane, number) for number in numbers]
        for number in numbers:
            self.where[number] = session

    def take(self, ranges):
        numbers = expand(ranges)
        ready = self.ready()
        passed = [n for n in ready[: ready.index(numbers[-1])] if n not in numbers]
        assert numbers == [n for n in ready if n in numbers]
        assert all(needs_python(self.blobs[n]) for n in passed)
        for number in numbers:
            self.leave(number, TAKEN)

    def assigned(self, session, lane, results, blobs):
        assert not self.ready()
        self.put(blobs)
        self.lease(session, lane, results, [(len(self.blobs),) * 2])

    def passed(self, blobs):
        assert not self.ready()
        self.put(blobs)
        self.take([(len(self.blobs),) * 2])

    def restore(self, runs):
        for first, deaths, blobs in runs:
            for number, blob in enumerate(blobs, first):
                assert (self.where[number], self.blobs[number]) == (TAKEN, blob)
                self.where[number], self.deaths[number] = READY, deaths

    def ack(self, session, ranges):
        numbers = self.give_up(session, ranges)
        for number in numbers:
            self.leave(number, GONE)
        self.finish(len(numbers))

    def lower(self, n):
        assert n <= self.unfinished
        self.finish(n)

    def back(self, session, ranges):
        for number in self.give_up(session, ranges):
            self.where[number] = READY

    def bury(self, session, number, report):
        assert number in self.oldest_of_lanes(session)
        self.give_up(session, [(number, number)])
        self.deaths[number] += 1
        assert self.deaths[number] == self.max_attempts == report["attempts"]
        self.leave(number, DEAD)
        self.finish(1)

    def died(self, session, counted, spared):
        for number in expand(counted):
            assert number in self.oldest_of_lanes(session)
            self.deaths[number] += 1
            assert self.deaths[number] < self.max_attempts
        numbers = self.give_up(session, [*counted, *spared])
        assert not any(holder == session for holder, _, _ in self.out)
        self.suspects.update(numbers)
        for number in numbers:
            self.where[number] = READY

    def oldest_of_lanes(self, session):
        first: dict[int, int] = {}
        for holder, _, number in self.out_at_death:
            if holder == session:
                first.setdefault(self.lines[number], number)
        return first.values()

    def requeue(self, numbers):
        for number in numbers:
            assert self.where[number] == DEAD
            self.where[number], self.deaths[number] = READY, 0
        self.suspects.update(numbers)
        self.unfinished += len(numbers)

    def drop(self, numbers):
        for number in numbers:
            assert self.where[number] == DEAD
            self.leave(number, GONE)

    def clear(self):
        waiting = [*self.ready(), *self.dues]
        for number in waiting:
            self.leave(number, GONE)
        self.finish(len(waiting))

    def shut_(self, immediate):
        self.shut = True
        if immediate:
            self.clear()

    # -- comparing ----------------------------------------------------------------------------------

    def state(self):
        def those(where):
            return {n: (self.deaths[n], self.blobs[n]) for n, w in self.where.items() if w == where}

        return {
            "ready": those(READY),
            "dead": those(DEAD),
            "delayed": those(DELAYED),
            "out": {(s, lane, n, self.deaths[n], self.blobs[n]) for s, lane, n in self.out},
            "suspects": self.suspects,
            "unfinished": self.unfinished,
            "shut": self.shut,
        }


def expand(ranges):
    return [number for lo, hi in ranges for number in range(lo, hi + 1)]


def seen(queue):
    """Return the state of a real queue in the model's form."""
    state = queue.state()
    return {
        "ready": {n: (deaths, blob) for n, deaths, blob in state["ready"]},
        "dead": {n: (item.deaths, item.blob) for n, item in state["dead"].items()},
        "delayed": {n: (late.deaths, late.blob) for n, late in state["delayed"].items()},
        "out": {(s, lane, n, deaths, blob) for s, lane, _, n, deaths, blob in state["leases"]},
        "suspects": state["suspects"],
        "unfinished": state["unfinished"],
        "shut": state["shut"],
    }
